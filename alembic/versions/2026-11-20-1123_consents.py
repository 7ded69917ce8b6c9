"""The texts that people agree to, in all their versions, and the ledger of consents."""

import hashlib
from collections.abc import Sequence
from uuid import NAMESPACE_URL, uuid5

import sqlalchemy as sa
from alembic import op

revision: str = "consents"
down_revision: str | None = "accounting"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

POLICY_DOCUMENTS = """
CREATE TABLE policy_documents (
  id uuid NOT NULL,
  name text NOT NULL,
  version text NOT NULL,
  locale text NOT NULL,
  title text NOT NULL,
  body text NOT NULL,
  sha256 bytea NOT NULL,
  is_material boolean NOT NULL,
  published_at timestamptz NOT NULL,
  CONSTRAINT policy_documents_pkey PRIMARY KEY (id),
  CONSTRAINT policy_documents_name_version_locale_key UNIQUE (name, version, locale),
  CONSTRAINT policy_documents_name CHECK (name IN ('terms', 'privacy_policy', 'marketing_email', 'analytics')),
  CONSTRAINT policy_documents_version CHECK (version ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'),
  CONSTRAINT policy_documents_locale CHECK (locale IN ('fr', 'en')),
  CONSTRAINT policy_documents_sha256 CHECK (octet_length(sha256) = 32)
)
"""

CONSENTS = """
CREATE TABLE consents (
  user_id uuid,
  id uuid NOT NULL,
  subject_ref bytea NOT NULL,
  purpose text NOT NULL,
  is_granted boolean NOT NULL,
  policy_version text NOT NULL,
  policy_sha256 bytea NOT NULL,
  source text NOT NULL,
  ip_prefix inet,
  user_agent text,
  created_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT consents_pkey PRIMARY KEY (id),
  CONSTRAINT consents_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE SET NULL,
  CONSTRAINT consents_purpose CHECK (purpose IN ('terms', 'privacy_policy', 'marketing_email', 'analytics')),
  CONSTRAINT consents_source CHECK (source IN
    ('signup', 'settings', 'banner', 'unsubscribe', 'import', 'erasure')),
  CONSTRAINT consents_user_agent CHECK (char_length(user_agent) <= 200)
)
"""

INDEXES = (
    "CREATE INDEX consents_decision ON consents (user_id, purpose, created_at DESC)",
    "CREATE INDEX consents_proof ON consents (subject_ref, purpose, created_at DESC)",
)

FUNCTIONS = (
    """
    CREATE FUNCTION policy_documents_no_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% refuses %', TG_TABLE_NAME, TG_OP
            USING ERRCODE = 'insufficient_privilege', TABLE = TG_TABLE_NAME;
    END
    $$
    """,
    """
    CREATE FUNCTION consents_no_change() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        wanted consents;
    BEGIN
        -- The retention job alone sets this, for its own transaction.
        IF TG_OP = 'DELETE' AND current_setting('luneo.retention', true) = 'on' THEN
            RETURN OLD;
        END IF;
        IF TG_OP = 'UPDATE' THEN
            -- Who it was may be forgotten; what was said may not.
            wanted := OLD;
            IF NEW.user_id IS NULL THEN wanted.user_id := NULL; END IF;
            IF NEW.ip_prefix IS NULL THEN wanted.ip_prefix := NULL; END IF;
            IF NEW.user_agent IS NULL THEN wanted.user_agent := NULL; END IF;
            IF NEW IS NOT DISTINCT FROM wanted THEN
                RETURN NEW;
            END IF;
        END IF;
        RAISE EXCEPTION '% refuses %', TG_TABLE_NAME, TG_OP
            USING ERRCODE = 'insufficient_privilege', TABLE = TG_TABLE_NAME;
    END
    $$
    """,
)

VERSION = "2026-01-15"

TEXTS = (
    (
        "terms",
        "fr",
        "Conditions d'utilisation",
        "Luneo fournit un service en ligne pour vendre des produits personnalisés. Vous êtes responsable"
        " de votre compte, de vos identifiants et de ce que vous publiez.\n\n"
        "- N'utilisez pas le service de façon illicite ou pour nuire à autrui.\n"
        "- Les offres payantes, leur prix et leur durée sont affichés avant tout achat.\n"
        "- Vous pouvez fermer votre compte à tout moment depuis les réglages.",
    ),
    (
        "terms",
        "en",
        "Terms of use",
        "Luneo is an online service for selling customised products. You are responsible for your"
        " account, its credentials and what you publish.\n\n"
        "- Do not use the service unlawfully or to harm others.\n"
        "- Paid plans, their price and their term are shown before any purchase.\n"
        "- You may close your account at any time in the settings.",
    ),
    (
        "privacy_policy",
        "fr",
        "Politique de confidentialité",
        "Nous traitons les données de votre compte pour fournir le service, le sécuriser et remplir nos"
        " obligations légales.\n\n"
        "- Vous pouvez consulter, rectifier, exporter et effacer vos données.\n"
        "- La liste des données, des durées et des sous-traitants est publique dans l'API.\n"
        "- Vous pouvez saisir la CNIL.",
    ),
    (
        "privacy_policy",
        "en",
        "Privacy policy",
        "We process the data of your account to provide the service, to keep it secure and to meet our"
        " legal duties.\n\n"
        "- You may see, correct, export and erase your data.\n"
        "- The list of data, retention times and processors is public in the API.\n"
        "- You may complain to your supervisory authority.",
    ),
    (
        "marketing_email",
        "fr",
        "Nouvelles par e-mail",
        "J'accepte de recevoir par e-mail des nouvelles des produits de Luneo. Je peux retirer cet accord"
        " à tout moment, dans les réglages ou par le lien de chaque message.",
    ),
    (
        "marketing_email",
        "en",
        "News by e-mail",
        "I agree to receive news about Luneo's products by e-mail. I may withdraw at any time, in the"
        " settings or by the link in every message.",
    ),
    (
        "analytics",
        "fr",
        "Mesure d'usage",
        "J'accepte que mon usage du service soit mesuré pour l'améliorer. Je peux retirer cet accord à"
        " tout moment dans les réglages.",
    ),
    (
        "analytics",
        "en",
        "Usage analytics",
        "I agree that my use of the service is measured in order to improve it. I may withdraw at any"
        " time in the settings.",
    ),
)


def upgrade() -> None:
    """Create the tables, the first version of every text and the triggers."""
    for statement in (POLICY_DOCUMENTS, CONSENTS, *INDEXES, *FUNCTIONS):
        op.execute(statement)
    insert = sa.text(
        "INSERT INTO policy_documents (id, name, version, locale, title, body, sha256, is_material,"
        " published_at) VALUES (:id, :name, :version, :locale, :title, :body, :sha256, true,"
        " '2026-01-15 00:00:00+00')"
    )
    for name, locale, title, body in TEXTS:
        op.execute(
            insert.bindparams(
                id=uuid5(NAMESPACE_URL, f"luneo:policy:{name}:{VERSION}:{locale}"),
                name=name,
                version=VERSION,
                locale=locale,
                title=title,
                body=body,
                sha256=hashlib.sha256(body.encode()).digest(),
            )
        )
    for table in ("policy_documents", "consents"):
        op.execute(
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION {table}_no_change()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION {table}_no_change()"
        )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("consents")
    op.drop_table("policy_documents")
    op.execute("DROP FUNCTION consents_no_change()")
    op.execute("DROP FUNCTION policy_documents_no_change()")
