//! The table of rules: the forms of tokens that begin with a known prefix, and the names of fields whose value is a
//! secret. A form is taken from the issuer's documentation where there is one, else from the rules of public scanners
//! (gitleaks, GitHub's secret scanning).

/// How a mask begins; a kind and `]` follow.
pub(super) const MASK_START: &str = "[secret: ";

/// The characters of a token behind its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alphabet {
    /// `A-Z`, `0-9`.
    Upper,
    /// `0-9`, `a-f`.
    Hex,
    /// `A-Z`, `a-z`, `0-9`.
    Alphanumeric,
    /// Letters, digits, `_` and `-`: base64 for URLs.
    Url,
    /// The same and `.`, which does not end a token.
    Dotted,
    /// Letters, digits, `/`, `+`, `=`, `-` and `%`.
    Path,
}

impl Alphabet {
    pub(super) fn has(self, byte: u8) -> bool {
        match self {
            Alphabet::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Alphabet::Hex => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Alphabet::Alphanumeric => byte.is_ascii_alphanumeric(),
            Alphabet::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Alphabet::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'='),
            Alphabet::Path => byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+' | b'=' | b'-' | b'%' | b'_'),
        }
    }
}

/// The form of a token. Before it there is no letter, digit or `_`; behind it no character of its alphabet.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenRule {
    pub(super) kind: &'static str,
    pub(super) prefix: &'static str,
    pub(super) alphabet: Alphabet,
    /// Least and most bytes behind the prefix.
    pub(super) bytes: (u16, u16),
}

/// The most bytes of a token whose issuer names no length: Google allows as many.
const OPEN: u16 = 2048;

const fn rule(kind: &'static str, prefix: &'static str, alphabet: Alphabet, least: u16, most: u16) -> TokenRule {
    TokenRule { kind, prefix, alphabet, bytes: (least, most) }
}

/// The tokens. Lengths that issuers fix have some room, for what they may change and what a text may cut off. Of two
/// prefixes of which one begins with the other, the longer one comes first.
pub(super) const TOKENS: &[TokenRule] = &[
    rule("age-secret-key", "AGE-SECRET-KEY-1", Alphabet::Upper, 50, 64),
    rule("anthropic-api-key", "sk-ant-", Alphabet::Url, 20, OPEN),
    rule("atlassian-token", "ATATT3", Alphabet::Dotted, 40, OPEN),
    rule("aws-access-key-id", "AKIA", Alphabet::Upper, 16, 16),
    rule("aws-access-key-id", "ASIA", Alphabet::Upper, 16, 16),
    rule("databricks-token", "dapi", Alphabet::Hex, 32, 32),
    rule("digitalocean-token", "dop_v1_", Alphabet::Hex, 64, 64),
    rule("digitalocean-token", "doo_v1_", Alphabet::Hex, 64, 64),
    rule("discord-webhook", "discord.com/api/webhooks/", Alphabet::Path, 60, 120),
    rule("docker-token", "dckr_pat_", Alphabet::Url, 20, 64),
    rule("figma-token", "figd_", Alphabet::Url, 30, 64),
    rule("github-token", "ghp_", Alphabet::Alphanumeric, 30, 255),
    rule("github-token", "gho_", Alphabet::Alphanumeric, 30, 255),
    rule("github-token", "ghu_", Alphabet::Alphanumeric, 30, 255),
    rule("github-token", "ghs_", Alphabet::Alphanumeric, 30, 255),
    rule("github-token", "ghr_", Alphabet::Alphanumeric, 30, 255),
    rule("github-token", "github_pat_", Alphabet::Url, 30, 255),
    rule("gitlab-token", "glpat-", Alphabet::Dotted, 20, 300),
    rule("gitlab-token", "gldt-", Alphabet::Dotted, 20, 300),
    rule("gitlab-token", "glrt-", Alphabet::Dotted, 20, 300),
    rule("gitlab-token", "glcbt-", Alphabet::Dotted, 20, 300),
    rule("gitlab-token", "glptt-", Alphabet::Url, 40, 64),
    rule("gitlab-token", "glsoat-", Alphabet::Url, 20, 64),
    rule("google-api-key", "AIza", Alphabet::Url, 33, 39),
    rule("google-oauth-secret", "GOCSPX-", Alphabet::Url, 24, 32),
    rule("google-oauth-token", "ya29.", Alphabet::Dotted, 20, OPEN),
    rule("google-oauth-token", "1//0", Alphabet::Url, 40, 256),
    rule("grafana-token", "glsa_", Alphabet::Url, 32, 64),
    rule("groq-api-key", "gsk_", Alphabet::Alphanumeric, 40, 64),
    rule("huggingface-token", "hf_", Alphabet::Alphanumeric, 30, 64),
    rule("linear-api-key", "lin_api_", Alphabet::Alphanumeric, 32, 64),
    rule("mailgun-key", "key-", Alphabet::Hex, 32, 32),
    rule("newrelic-key", "NRAK-", Alphabet::Upper, 27, 27),
    rule("notion-token", "ntn_", Alphabet::Alphanumeric, 40, 64),
    rule("npm-token", "npm_", Alphabet::Alphanumeric, 30, 48),
    rule("openai-api-key", "sk-proj-", Alphabet::Url, 20, OPEN),
    rule("openai-api-key", "sk-svcacct-", Alphabet::Url, 20, OPEN),
    rule("openai-api-key", "sk-admin-", Alphabet::Url, 20, OPEN),
    rule("openrouter-api-key", "sk-or-v1-", Alphabet::Hex, 64, 64),
    rule("openai-api-key", "sk-", Alphabet::Alphanumeric, 32, 64),
    rule("perplexity-api-key", "pplx-", Alphabet::Alphanumeric, 40, 64),
    rule("postman-api-key", "PMAK-", Alphabet::Url, 40, 80),
    rule("pypi-token", "pypi-", Alphabet::Url, 50, OPEN),
    rule("replicate-token", "r8_", Alphabet::Alphanumeric, 37, 37),
    rule("rubygems-key", "rubygems_", Alphabet::Hex, 48, 48),
    rule("sendgrid-api-key", "SG.", Alphabet::Dotted, 60, 80),
    rule("sentry-token", "sntrys_", Alphabet::Path, 40, OPEN),
    rule("sentry-token", "sntryu_", Alphabet::Hex, 64, 64),
    rule("shopify-token", "shpat_", Alphabet::Hex, 32, 32),
    rule("shopify-token", "shpss_", Alphabet::Hex, 32, 32),
    rule("slack-token", "xoxb-", Alphabet::Path, 20, 255),
    rule("slack-token", "xoxp-", Alphabet::Path, 20, 255),
    rule("slack-token", "xoxa-", Alphabet::Path, 20, 255),
    rule("slack-token", "xoxr-", Alphabet::Path, 20, 255),
    rule("slack-token", "xoxs-", Alphabet::Path, 20, 255),
    rule("slack-token", "xoxc-", Alphabet::Path, 20, 255),
    rule("slack-token", "xoxd-", Alphabet::Path, 20, 512),
    rule("slack-token", "xoxe-", Alphabet::Path, 20, 512),
    rule("slack-token", "xoxe.xoxp-", Alphabet::Path, 20, 512),
    rule("slack-token", "xoxe.xoxb-", Alphabet::Path, 20, 512),
    rule("slack-token", "xapp-", Alphabet::Path, 20, 255),
    rule("slack-webhook", "hooks.slack.com/services/", Alphabet::Path, 30, 90),
    rule("stripe-key", "sk_live_", Alphabet::Alphanumeric, 16, 255),
    rule("stripe-key", "sk_test_", Alphabet::Alphanumeric, 16, 255),
    rule("stripe-key", "rk_live_", Alphabet::Alphanumeric, 16, 255),
    rule("stripe-key", "rk_test_", Alphabet::Alphanumeric, 16, 255),
    rule("stripe-webhook-secret", "whsec_", Alphabet::Path, 24, 128),
    rule("supabase-token", "sbp_", Alphabet::Hex, 40, 40),
    rule("tailscale-key", "tskey-", Alphabet::Url, 20, 128),
    rule("twilio-api-key", "SK", Alphabet::Hex, 32, 32),
    rule("vault-token", "hvs.", Alphabet::Url, 24, OPEN),
    rule("xai-api-key", "xai-", Alphabet::Alphanumeric, 64, 100),
];

/// Kinds that are found by the text around them.
pub(super) const PRIVATE_KEY: &str = "private-key";
pub(super) const JWT: &str = "jwt";
pub(super) const URL_PASSWORD: &str = "url-password";
pub(super) const BEARER: &str = "bearer-token";
pub(super) const BASIC: &str = "basic-credentials";
pub(super) const KINDS_BY_CONTEXT: [&str; 5] = [PRIVATE_KEY, JWT, URL_PASSWORD, BEARER, BASIC];
pub(super) const PASSWORD: &str = "password";
const API_KEY: &str = "api-key";
const SECRET: &str = "secret";
const TOKEN: &str = "token";

/// How much a value must look like a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Floor {
    /// People choose it: short, and perhaps of words.
    Chosen,
    /// A program made it.
    Random,
}

/// The name of a field whose value is a secret: in lower case, without `_`, `-`, `.` and spaces.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldRule {
    pub(super) kind: &'static str,
    /// What the field's name ends in.
    pub(super) name: &'static str,
    pub(super) floor: Floor,
    /// The name stands alone or behind a separator: `DB_PASS` and `dbPass`, not `bypass`.
    pub(super) is_word: bool,
}

const fn field(kind: &'static str, name: &'static str, floor: Floor) -> FieldRule {
    FieldRule { kind, name, floor, is_word: false }
}

const fn word(kind: &'static str, name: &'static str, floor: Floor) -> FieldRule {
    FieldRule { kind, name, floor, is_word: true }
}

/// The names. The first that fits gives the kind.
pub(super) const FIELDS: &[FieldRule] = &[
    field(PASSWORD, "password", Floor::Chosen),
    field(PASSWORD, "passwd", Floor::Chosen),
    field(PASSWORD, "passphrase", Floor::Chosen),
    field(PASSWORD, "passcode", Floor::Chosen),
    word(PASSWORD, "pwd", Floor::Chosen),
    word(PASSWORD, "pass", Floor::Chosen),
    word(PASSWORD, "pw", Floor::Chosen),
    field(PASSWORD, "passwort", Floor::Chosen),
    field(PASSWORD, "kennwort", Floor::Chosen),
    field(PASSWORD, "motdepasse", Floor::Chosen),
    word(PASSWORD, "mdp", Floor::Chosen),
    field(PASSWORD, "contraseña", Floor::Chosen),
    field(PASSWORD, "contrasena", Floor::Chosen),
    word(PASSWORD, "senha", Floor::Chosen),
    field(PASSWORD, "wachtwoord", Floor::Chosen),
    field(PASSWORD, "lösenord", Floor::Chosen),
    word(PASSWORD, "hasło", Floor::Chosen),
    word(PASSWORD, "heslo", Floor::Chosen),
    field(PASSWORD, "пароль", Floor::Chosen),
    field(PASSWORD, "密码", Floor::Chosen),
    field(PASSWORD, "密碼", Floor::Chosen),
    field(PASSWORD, "口令", Floor::Chosen),
    field(PASSWORD, "パスワード", Floor::Chosen),
    field(PASSWORD, "비밀번호", Floor::Chosen),
    field("aws-secret-access-key", "secretaccesskey", Floor::Random),
    field("azure-account-key", "accountkey", Floor::Random),
    field(API_KEY, "apikey", Floor::Random),
    field(API_KEY, "accesskey", Floor::Random),
    field(API_KEY, "secretkey", Floor::Random),
    field(API_KEY, "secretkeybase", Floor::Random),
    field(API_KEY, "encryptionkey", Floor::Random),
    field(API_KEY, "signingkey", Floor::Random),
    field(API_KEY, "masterkey", Floor::Random),
    field(API_KEY, "privatekey", Floor::Random),
    field(SECRET, "secret", Floor::Random),
    field(TOKEN, "token", Floor::Random),
];

/// Fields that end in `token` and have places in lists and the like.
pub(super) const OTHER_FIELDS: [&str; 7] =
    ["pagetoken", "nexttoken", "synctoken", "continuationtoken", "cancellationtoken", "starttoken", "tokentoken"];

/// A value of fewer than [`LONG_BYTES`] bytes that has one of these is an example or a variable's name.
pub(super) const PLACEHOLDERS: [&str; 19] = [
    "required",
    "your",
    "example",
    "placeholder",
    "changeme",
    "change-me",
    "change_me",
    "changeit",
    "redacted",
    "replace",
    "insert",
    "dummy",
    "sample",
    "xxxx",
    "****",
    "....",
    "todo",
    "masked",
    "<",
];

/// Words that a random value has if it is a fixture or a name.
pub(super) const NAME_WORDS: [&str; 8] = ["token", "secret", "passw", "key", "test", "fake", "mock", "value"];

/// Algorithms and formats, which have digits as passwords do.
pub(super) const ALGORITHMS: [&str; 19] = [
    "sha1", "sha-1", "sha256", "sha-256", "sha512", "sha-512", "base64", "argon2", "argon2id", "pbkdf2", "oauth2",
    "ed25519", "aes256", "aes-256", "hs256", "rs256", "es256", "utf-8", "bcrypt",
];

/// Length from which no value is taken for a placeholder.
pub(super) const LONG_BYTES: usize = 32;
