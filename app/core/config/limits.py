"""Settings of the rate limits."""

from pydantic import Field
from pydantic_settings import BaseSettings

from app.core.config.fields import Rule


class LimitSettings(BaseSettings):
    """How much of everything is allowed in which time."""

    limit_factor: int = Field(
        0, ge=0, le=10_000, description="Factor of the limits by address; 0: 1 in production, else 100."
    )
    limit_login_ip: Rule = Field("50/15m", description="Sign-ins per address.")
    limit_signup_ip: Rule = Field("10/1h", description="Sign-ups per address.")
    limit_mail_ip: Rule = Field("20/1h", description="Requests that send a mail, per address.")
    limit_mail_address: Rule = Field(
        "3/15m", description="Mails that anybody can have sent to one address, of all kinds together."
    )
    limit_step_up: Rule = Field("10/15m", description="Second checks per person.")
    limit_refresh: Rule = Field("30/5m", description="Refreshes per session.")
    limit_session: Rule = Field("600/1m", description="Requests per session.")
    limit_bad_token_ip: Rule = Field("60/1m", description="Unverifiable bearer tokens per address.")
    limit_mfa_account: Rule = Field("10/15m", description="Wrong second factors per person.")
    limit_email_change: Rule = Field("5/24h", description="Changes of address per person.")
    limit_password_change: Rule = Field("10/1h", description="Changes of password per person.")
    limit_two_factor: Rule = Field("10/15m", description="Codes tried in the settings, per person.")
    limit_invite: Rule = Field("20/1h", description="Invitations per organisation.")
    limit_invite_daily: Rule = Field("100/24h", description="The same in a day.")
    limit_invitation_token: Rule = Field("30/15m", description="Uses of invitations per address.")
    limit_transfer: Rule = Field("5/24h", description="Offers of ownership per organisation.")
    limit_audit_verify: Rule = Field("6/1h", description="Verifications of the audit log per organisation.")
    limit_audit_export: Rule = Field("5/24h", description="Exports of the audit log per organisation.")
    limit_webhook_test: Rule = Field("10/1m", description="Test deliveries per organisation.")
    limit_mail_recipient: Rule = Field(
        "20/1h", description="Mails to one address; those about the account count apart."
    )
    limit_mail_org: Rule = Field("1000/1h", description="Mails of one organisation.")
    limit_notification_test: Rule = Field("5/1h", description="Test notices per person.")
    limit_mail_texts: Rule = Field("60/1m", description="Texts of mails tried and written, per person.")
    limit_unsubscribe_ip: Rule = Field("60/1m", description="Uses of unsubscribe links per address.")
    limit_api_org: Rule = Field("20000/1h", description="Requests by API keys per organisation.")
    limit_api_bad: Rule = Field("60/1m", description="Refused API keys per address.")
    limit_file_uploads: Rule = Field("30/1m", description="Uploads per principal.")
    limit_avatar: Rule = Field("10/1h", description="Changes of the portrait per person.")
    limit_media: Rule = Field("600/1m", description="Public files and signed addresses, per address.")
    limit_products_read: Rule = Field("600/1m", description="Product lists and reads per principal.")
    limit_products_write: Rule = Field("120/1m", description="Product writes per principal.")
    limit_public_product: Rule = Field("120/1m", description="Public product pages per address.")
    limit_products_import: Rule = Field("6/1m", description="Product imports per principal.")
    limit_products_export: Rule = Field("6/1h", description="Product exports per principal.")
    limit_billing_read: Rule = Field("600/1m", description="Reads of billing per principal.")
    limit_invoice_pdf: Rule = Field("60/1m", description="Documents as PDF per principal.")
    limit_usage_events: Rule = Field("600/1m", description="Uses reported per principal.")
    limit_billing_plans: Rule = Field("120/1m", description="Reads of the price list per address.")
    limit_billing_change: Rule = Field("10/1m", description="Checkouts and changes of plan per principal.")
    limit_payment_methods: Rule = Field("20/1h", description="Changes of payment methods per principal.")
    limit_orders_read: Rule = Field("600/1m", description="Order lists and reads per principal.")
    limit_orders_create: Rule = Field("60/1m", description="Orders placed per principal.")
    limit_orders_quote: Rule = Field("120/1m", description="Quotes per principal.")
    limit_orders_write: Rule = Field("120/1m", description="Other order writes per principal.")
    limit_orders_refund: Rule = Field("30/1m", description="Refunds per principal.")
    limit_orders_export: Rule = Field("6/1h", description="Order exports per principal.")
    limit_orders_track_ip: Rule = Field("5/1m", description="Requests for an order's link, per address.")
    limit_orders_track_email: Rule = Field("10/1h", description="The same per e-mail address.")
    limit_public_read_ip: Rule = Field("120/1m", description="Reads of public pages per address.")
    limit_consent: Rule = Field("60/1h", description="Consents given and withdrawn per person.")
    limit_events_pull: Rule = Field("120/1m", description="Reads of the event log per principal.")
    limit_stream_tickets: Rule = Field("60/1m", description="Tickets for streams per person.")
    limit_stream_open: Rule = Field("60/1m", description="Streams opened, per person or key.")
    limit_stream_open_ip: Rule = Field("120/1m", description="Streams opened, per address.")
