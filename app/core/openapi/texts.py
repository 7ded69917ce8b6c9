"""What the OpenAPI document says in words: its description and what each tag is about."""

from app.core.events import API_VERSION

TITLE = "Luneo API"

DESCRIPTION = f"""\
The backend of the Luneo platform: dashboards for brands that sell customised products, with AR, and the
Aurora50 community and academy.

## Who calls
- **A person** sends `Authorization: Bearer <access token>`. Signing in gives an access token, which is good
  for ten minutes, and a refresh token for the next one.
- **A program** sends an API key in `X-API-Key`, or as `Authorization: Bearer luneo_live_…`; one of them, and
  never in the address. `x-api-key` says which operations take one; `x-permission` (or `x-api-key-scope`) is
  the scope that it needs. The other operations answer a key 403 `user_session_required`. A key may do what
  its scopes say and what the role of the person who made it allows now.
- The active organisation comes from the session. `X-Organization-Id` names another one that you belong to.
- `x-permission` is the permission that an operation needs. `x-step-up` means that your second check must be
  recent; otherwise it answers 401 `step_up_required`.

Somebody else's data answers 404, exactly as if it did not exist.

## Bodies
JSON in snake_case, up to 1 MiB; unknown fields are refused. Times are UTC in RFC 3339 with `Z`. Money is an
integer of minor units beside its `currency`. Ids are UUIDs. `PATCH` and `PUT` both take a partial body.

## Lists
`{{"items": […], "next_cursor": "…", "total": null}}`. Go on with `cursor=<next_cursor>`, or ask for
numbered pages with `page=2`, which also brings `total`; never both. `limit` is 1 to 100. `sort=-created_at`
is descending.

## Errors
`application/problem+json` (RFC 9457). Write your program against `code`, which is stable; `detail` is for
people. A 422 says in `errors` where each fault is. Quote `request_id` when you ask for help.

## Repeating a write
Send an `Idempotency-Key` with POST, PUT and PATCH. The same key and body get the first answer again, marked
`Idempotency-Replayed: true`, for 24 hours; secrets that are shown once are null in it. The same key with
another body is 422 `idempotency_key_reused`.

## Limits
`RateLimit` and `RateLimit-Policy` (also `X-RateLimit-…`) say where you stand. Over a limit: 429 with
`Retry-After`. What uses up a quota of your plan tells `X-Quota-Limit`, `X-Quota-Remaining` and
`X-Quota-Reset`; without room for it: 402.

## Versions
Fields and operations are added, never renamed or removed, within a version. Webhooks and events are of
version `{API_VERSION}`.
"""

TAGS: dict[str, str] = {
    "auth": "Signing up, in and out; refreshing; passwords, confirmations and second checks.",
    "settings": "Your own profile, preferences, sessions and second factors.",
    "team": "Organisations, their members, invitations and roles.",
    "billing": "Plans, subscriptions, invoices and what is used of them.",
    "orders": "Orders from quote to delivery, their payment and refunds.",
    "products": "The catalogue: products, variants, options, stock.",
    "library": "Templates, cliparts and collections.",
    "designs": "Designs, their versions and their generation.",
    "integrations": "API keys, webhook endpoints and connections to other platforms.",
    "ar-studio": "3D models and AR experiences.",
    "monitoring": "Metrics, checks and alerts.",
    "support": "Tickets and the knowledge base.",
    "notifications": "What happened that concerns you, and how you hear of it.",
    "analytics": "Reports, funnels and events of your own.",
    "audit": "Who did what, and when, in an organisation.",
    "privacy": "Exports and erasure of personal data.",
    "sso": "Single sign-on by SAML and OpenID Connect, and provisioning by SCIM.",
    "realtime": "The live stream of events.",
    "events": "The log of events, to be pulled.",
    "profiles": "Public profiles of the community.",
    "community": "Salons, messages and presence.",
    "courses": "The academy: courses, lessons and progress.",
    "files": "Uploads and downloads.",
    "stripe-webhooks": "What Stripe calls.",
    "public": "What everybody may see.",
    "health": "Whether the service lives and is ready.",
    "sandbox": "What a developer's machine would have sent. Does not exist in production.",
    "webhooks": "What we call: requests to your webhook endpoints.",
}
"""The tags in the order of the document. One that an operation uses and that is missing here is an error."""
