//! Examples of what is masked and of what is not. `¦` is removed before a text is used: without it, scanners of
//! repositories would take the examples for real.

use super::{find, masked};

/// Texts, and what they are stored as.
pub(super) const TRUE: &[(&str, &str)] = &[
    // Tokens with a known prefix.
    ("key AKI¦AQ3EGRZ7TK5DPW2MX.", "key [secret: aws-access-key-id]."),
    ("AKI¦AIOSFODNN7EXAMPLE", "[secret: aws-access-key-id]"),
    ("(ASI¦AQ3EGRZ7TK5DPW2MX)", "([secret: aws-access-key-id])"),
    ("gh¦p_9aB3kLmN0pQrS7tUvWxYz1A2b4C6d8E0fGh", "[secret: github-token]"),
    ("GH=gh¦o_9aB3kLmN0pQrS7tUvWxYz1A2b4C6d8E0fGh;", "GH=[secret: github-token];"),
    ("{\"t\":\"a\\ngh¦s_9aB3kLmN0pQrS7tUvWxYz1A2b4C6d8E0fGh\"}", "{\"t\":\"a\\n[secret: github-token]\"}"),
    (
        "github¦_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvwxyzABCDEFGH1234567890abcdefghijklmnopqrs",
        "[secret: github-token]",
    ),
    (
        "https://x-access-token:gh¦p_9aB3kLmN0pQrS7tUvWxYz1A2b4C6d8E0fGh@github.com/a/b",
        "https://x-access-token:[secret: url-password]@github.com/a/b",
    ),
    (
        "https://gh¦p_9aB3kLmN0pQrS7tUvWxYz1A2b4C6d8E0fGh@github.com/a/b",
        "https://[secret: github-token]@github.com/a/b",
    ),
    ("glp¦at-x7Kq_2vBn9-LmZ4rTyWd", "[secret: gitlab-token]"),
    ("PRIVATE-TOKEN: glp¦at-x7Kq_2vBn9-LmZ4rTyWd\n", "PRIVATE-TOKEN: [secret: gitlab-token]\n"),
    ("xox¦b-123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx", "[secret: slack-token]"),
    (
        "curl https://hooks.sl¦ack.com/services/T0123ABCD/B0123ABCD/x7Kq2vBn9LmZ4rTyWd8sQe1F",
        "curl https://[secret: slack-webhook]",
    ),
    ("AIz¦aSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY", "[secret: google-api-key]"),
    ("GOC¦SPX-1a2B3c4D5e6F7g8H9i0JkLmNoPqR", "[secret: google-oauth-secret]"),
    ("ya2¦9.a0AfH6SMBx7Kq_2vBn9-LmZ4rTyWd.", "[secret: google-oauth-token]."),
    ("STRIPE=sk_l¦ive_51H8xYzAbCdEfGhIjKlMnOp", "STRIPE=[secret: stripe-key]"),
    ("rk_t¦est_51H8xYzAbCdEfGhIjKlMnOp", "[secret: stripe-key]"),
    ("whs¦ec_x7Kq2vBn9LmZ4rTyWd8sQe1FgHjKl", "[secret: stripe-webhook-secret]"),
    ("sk-p¦roj-x7Kq2vBn9LmZ4rTyWd_8sQe1F-gHjKl", "[secret: openai-api-key]"),
    ("sk-¦x7Kq2vBn9LmZ4rTyWd8sT3BlbkFJQe1FgHjKlx7Kq2vBn9Lm", "[secret: openai-api-key]"),
    ("sk-a¦nt-api03-x7Kq2vBn9LmZ4rTyWd_8sQe1F-gHjKlAA", "[secret: anthropic-api-key]"),
    ("np¦m_9aB3kLmN0pQrS7tUvWxYz1A2b4C6d8E0fGhI", "[secret: npm-token]"),
    (
        "//registry.npmjs.org/:_authToken=np¦m_9aB3kLmN0pQrS7tUvWxYz1A2b4C6d8E0fGhI",
        "//registry.npmjs.org/:_authToken=[secret: npm-token]",
    ),
    ("pyp¦i-AgEIcHlwaS5vcmcCJGQ4x7Kq2vBn9LmZ4rTyWd8sQe1FgHjKlx7Kq2vBn9", "[secret: pypi-token]"),
    ("hf¦_aBcDeFgHiJkLmNoPqRsTuVwXyZ01234567", "[secret: huggingface-token]"),
    ("SG¦.x7Kq2vBn9LmZ4rTyWd8sQe.1FgHjKlx7Kq2vBn9LmZ4rTyWd8sQe1FgHjKlx7Kq2v", "[secret: sendgrid-api-key]"),
    ("dop¦_v1_0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9", "[secret: digitalocean-token]"),
    // Quoted values that are cut off, or have a backslash.
    ("password = \"hunt¦er22", "password = \"[secret: password]"),
    ("password = \"Tr0¦ub4\\dor&3\" end", "password = \"[secret: password]\" end"),
    ("password = \"ab\\cd!9¦xyz\"", "password = \"[secret: password]\""),
    // Private keys.
    (
        "-----BEGIN RSA PRI¦VATE KEY-----\nMIIEowIBAAKCAQEAx7Kq2vBn9LmZ4rTy\nWd8sQe1F==\n-----END RSA PRI¦VATE KEY-----\nend",
        "[secret: private-key]\nend",
    ),
    (
        "-----BEGIN PRI¦VATE KEY-----\r\nMIIEowIBAAKCAQEAx7Kq2vBn9LmZ4rTy\r\n-----END PRI¦VATE KEY-----\r\n",
        "[secret: private-key]\r\n",
    ),
    (
        r#"{"k":"-----BEGIN EC PRI¦VATE KEY-----\nMHcCAQEEIAx7Kq2vBn9LmZ4rTy\nWd8s\n-----END EC PRI¦VATE KEY-----\n"}"#,
        r#"{"k":"[secret: private-key]\n"}"#,
    ),
    (
        r#"{\"k\":\"-----BEGIN PRI¦VATE KEY-----\\nMHcCAQEEIAx7Kq2vBn9LmZ4rTy\\n-----END PRI¦VATE KEY-----\\n\"}"#,
        r#"{\"k\":\"[secret: private-key]\\n\"}"#,
    ),
    (
        "-----BEGIN OPENSSH PRI¦VATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE\nbm9uZQAAAAAAAA\n\nThat was it.",
        "[secret: private-key]\nbm9uZQAAAAAAAA\n\nThat was it.",
    ),
    (
        "-----BEGIN RSA PRI¦VATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AB12\n\nMIIEowIBAAKCAQEAx7Kq2vBn9LmZ4rTy\n-----END RSA PRI¦VATE KEY-----",
        "[secret: private-key]",
    ),
    (
        "> -----BEGIN PRI¦VATE KEY-----\n> MIIEowIBAAKCAQEAx7Kq2vBn9LmZ4rTy\n> -----END PRI¦VATE KEY-----",
        "> [secret: private-key]",
    ),
    (
        "-----BEGIN PRI¦VATE KEY----- MIIEowIBAAKCAQEAx7Kq2vBn9LmZ4rTy -----END PRI¦VATE KEY-----",
        "[secret: private-key]",
    ),
    (
        "-----BEGIN PGP PRI¦VATE KEY BLOCK-----\nVersion: GnuPG v2\n\nlQOYBFx7Kq2vBn9LmZ4rTyWd\n=a1B2\n-----END PGP PRI¦VATE KEY BLOCK-----",
        "[secret: private-key]",
    ),
    (
        "key = \"-----BEGIN PRI¦VATE KEY-----\\n\" +\n  \"MIIEowIBAAKCAQEAx7Kq2vBn9LmZ4rTy\\n\" +\n  \"-----END PRI¦VATE KEY-----\"",
        "key = \"[secret: private-key]\"",
    ),
    (
        "+-----BEGIN PRI¦VATE KEY-----\n+MIIEowIBAAKCAQEAx7Kq2vBn9LmZ4rTy\n+Wd8sQe1F==\n+-----END PRI¦VATE KEY-----\n+end",
        "+[secret: private-key]\n+end",
    ),
    (
        "@@ -1,4 +0,0 @@\n------BEGIN EC PRI¦VATE KEY-----\n-MHcCAQEEIAx7Kq2vBn9LmZ4rTy\n-Wd8s\n------END EC PRI¦VATE KEY-----\n-end",
        "@@ -1,4 +0,0 @@\n-[secret: private-key]\n-end",
    ),
    (
        "++-----BEGIN PRI¦VATE KEY-----\n++MIIEowIBAAKCAQEAx7Kq2vBn9LmZ4rTy\n +Wd8s\n++-----END PRI¦VATE KEY-----",
        "++[secret: private-key]",
    ),
    (
        "+-----BEGIN RSA PRI¦VATE KEY-----\n+Proc-Type: 4,ENCRYPTED\n+DEK-Info: AES-128-CBC,AB12\n+\n+MIIEowIBAAKCAQEAx7Kq2vBn9LmZ4rTy\n+Wd8s\n+-----END RSA PRI¦VATE KEY-----",
        "+[secret: private-key]",
    ),
    (
        r#"{"diff":"+-----BEGIN PRI¦VATE KEY-----\n+MIIEowIBAAKCAQEAx7Kq2vBn9LmZ4rTy\n+Wd8s\n+-----END PRI¦VATE KEY-----\n"}"#,
        r#"{"diff":"+[secret: private-key]\n"}"#,
    ),
    (
        "     1\t-----BEGIN PRI¦VATE KEY-----\n     2\tMIIEowIBAAKCAQEAx7Kq2vBn9LmZ4rTy\n     3\tWd8sQe1F==\n     4\t-----END PRI¦VATE KEY-----\n     5\tend",
        "     1\t[secret: private-key]\n     5\tend",
    ),
    (
        "    9→-----BEGIN PRI¦VATE KEY-----\n   10→MIIEowIBAAKCAQEAx7Kq2vBn9LmZ4rTy\n   11→Wd8s\n   12→-----END PRI¦VATE KEY-----",
        "    9→[secret: private-key]",
    ),
    (
        "1:-----BEGIN PRI¦VATE KEY-----\n2:MIIEowIBAAKCAQEAx7Kq2vBn9LmZ4rTy\n3:Wd8s\n4:-----END PRI¦VATE KEY-----\n",
        "1:[secret: private-key]\n",
    ),
    (
        "   1 │ -----BEGIN PRI¦VATE KEY-----\n   2 │ MIIEowIBAAKCAQEAx7Kq2vBn9LmZ4rTy\n   3 │ Wd8s\n   4 │ -----END PRI¦VATE KEY-----",
        "   1 │ [secret: private-key]",
    ),
    (
        "12 +-----BEGIN PRI¦VATE KEY-----\n13 +MIIEowIBAAKCAQEAx7Kq2vBn9LmZ4rTy\n14 +Wd8s\n15 +-----END PRI¦VATE KEY-----",
        "12 +[secret: private-key]",
    ),
    // JSON Web Tokens.
    ("ey¦JhbGciOiJIUzI1NiJ9.ey¦JzdWIiOiIxMjM0In0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1g", "[secret: jwt]"),
    (
        "Cookie: s=ey¦JhbGciOiJIUzI1NiJ9.ey¦JzdWIiOiIxMjM0In0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1g; a=b",
        "Cookie: s=[secret: jwt]; a=b",
    ),
    (
        "ey¦JhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9\n.ey¦JzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4g\nRG9lIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r\nwW1gFWFOEjXk9x\nnext line",
        "[secret: jwt]\nnext line",
    ),
    ("ey¦JhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\r\n  ey¦JzdWIiOiIxMjM0In0.dBjftJeZ4CVP-mB92K27", "[secret: jwt]"),
    // Credentials of HTTP.
    ("Authorization: Bearer x7Kq2vBn9LmZ4rTyWd8s", "Authorization: Bearer [secret: bearer-token]"),
    ("-H 'authorization: bearer x7Kq2vBn9LmZ4rTyWd8s'", "-H 'authorization: bearer [secret: bearer-token]'"),
    (
        "\"Authorization\": \"Basic YWxhZGRpbjpvcGVuc2VzYW1l\"",
        "\"Authorization\": \"Basic [secret: basic-credentials]\"",
    ),
    ("X-Api-Key: x7Kq2vBn9LmZ4rTyWd8s", "X-Api-Key: [secret: api-key]"),
    // URLs.
    ("postgres://app:hunter2@db:5432/x", "postgres://app:[secret: url-password]@db:5432/x"),
    ("redis://:p@ss@10.0.0.1/0", "redis://:[secret: url-password]@10.0.0.1/0"),
    ("mongodb+srv://u:a%40b@c.net/?w=1", "mongodb+srv://u:[secret: url-password]@c.net/?w=1"),
    ("url=\"amqp://guest:guest@mq\"", "url=\"amqp://guest:[secret: url-password]@mq\""),
    // Fields.
    ("password = hunter2", "password = [secret: password]"),
    ("My password: Tr0ub4dor&3!", "My password: [secret: password]"),
    ("DB_PASSWORD=s3cr3t-p4ss # prod", "DB_PASSWORD=[secret: password] # prod"),
    ("export PGPASSWORD='correcthorsebattery'", "export PGPASSWORD='[secret: password]'"),
    ("const dbPass = \"k9!mmQ\";", "const dbPass = \"[secret: password]\";"),
    ("spring.datasource.password=Sup3rS3cret!", "spring.datasource.password=[secret: password]"),
    ("{\"user\":\"a\",\"password\":\"k9mmQz77\"}", "{\"user\":\"a\",\"password\":\"[secret: password]\"}"),
    (r#"{\"password\": \"k9mmQz77\"}"#, r#"{\"password\": \"[secret: password]\"}"#),
    ("password: 'k9mm,Qz77'\nuser: b", "password: '[secret: password]'\nuser: b"),
    ("let password: &str = \"k9mmQz77\";", "let password: &str = \"[secret: password]\";"),
    ("config[\"password\"] = \"k9mmQz77\"", "config[\"password\"] = \"[secret: password]\""),
    ("'password' => 'k9mmQz77',", "'password' => '[secret: password]',"),
    ("<password>k9mmQz77</password>", "<password>[secret: password]</password>"),
    ("define('DB_PASSWORD', 'k9mmQz77');", "define('DB_PASSWORD', '[secret: password]');"),
    ("mysql --password k9mmQz77 -u a", "mysql --password [secret: password] -u a"),
    ("mysql --password=k9mmQz77", "mysql --password=[secret: password]"),
    ("https://h/login?user=a&password=k9mmQz77&x=1", "https://h/login?user=a&password=[secret: password]&x=1"),
    ("Server=h;Password=k9mmQz77;Database=x", "Server=h;Password=[secret: password];Database=x"),
    ("**Password:** `k9mmQz77`", "**Password:** `[secret: password]`"),
    ("the wifi password is Kx9!mmQz.", "the wifi password is [secret: password]."),
    ("pin passcode: 482910", "pin passcode: [secret: password]"),
    ("Das Passwort lautet Blumen77!", "Das Passwort lautet [secret: password]"),
    ("Passwort: Blumen77", "Passwort: [secret: password]"),
    ("Kennwort = Schlüssel9", "Kennwort = [secret: password]"),
    ("mot de passe : Fleurs77", "mot de passe : [secret: password]"),
    ("le mot de passe est Fleurs77", "le mot de passe est [secret: password]"),
    ("contraseña: Flores77", "contraseña: [secret: password]"),
    ("数据库密码：Abc12345，然后登录", "数据库密码：[secret: password]，然后登录"),
    ("密码是Abc12345", "密码是[secret: password]"),
    ("パスワード: Hana7788", "パスワード: [secret: password]"),
    ("пароль = Цветы77", "пароль = [secret: password]"),
    (
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "aws_secret_access_key = [secret: aws-secret-access-key]",
    ),
    (
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=x7Kq2vBn9LmZ4rTyWd8sQe1FgHjKl+/==;E=c",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=[secret: azure-account-key];E=c",
    ),
    ("api_key: \"9f8e7d6c5b4a39281706f5e4d3c2b1a0\"", "api_key: \"[secret: api-key]\""),
    ("client_secret=x7Kq2vBn9LmZ4rTy", "client_secret=[secret: secret]"),
    ("SECRET_KEY_BASE: 9f8e7d6c5b4a39281706f5e4d3c2b1a0", "SECRET_KEY_BASE: [secret: api-key]"),
    ("\"access_token\": \"x7Kq2vBn9LmZ4rTyWd8s\"", "\"access_token\": \"[secret: token]\""),
    ("passphrase: \"violet harbour seven anchors\"", "passphrase: \"[secret: password]\""),
    ("if (password === \"hunt¦er22\") {", "if (password === \"[secret: password]\") {"),
    ("assert config.password == 'k9mm¦Qz77'", "assert config.password == '[secret: password]'"),
    ("password=password123", "password=[secret: password]"),
    ("PASSWORD: Passw0rd1", "PASSWORD: [secret: password]"),
    ("PGPASSWORD=hunt¦er22 psql -h db", "PGPASSWORD=[secret: password] psql -h db"),
    ("password: \"password1x!\"", "password: \"[secret: password]\""),
    // Private text.
    ("a <private>b</private> c", "a [private] c"),
    ("a <PRIVATE>b <private>c</private> d</Private > e", "a [private] e"),
    ("a <private>b\nc", "a [private]"),
    ("a\nb</private> c", "[private] c"),
    ("<private>a</private> b </private> c", "[private] c"),
    ("password = hunter2 <private>x</private>", "password = [secret: password] [private]"),
    ("<private>all of it</private>\n", ""),
];

/// Texts that stay as they are.
const FALSE: &[&str] = &[
    "commit 3f786850e387550fdab836ed7e6dc881de23001b",
    "3f78685..89e6c98d92887913cadf06b2adb97f26cde4849b main -> main",
    "id 550e8400-e29b-41d4-a716-446655440000",
    "\"integrity\": \"sha512-z7Kq2vBn9LmZ4rTyWd8sQe1FgHjKlx7Kq2vBn9LmZ4rTyWd8sQe1FgHjKlx7Kq2vBn9LmZ4rTyWd8sQ==\"",
    "checksum = \"9f8e7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4a39281706f5e4d3c2b1a0\"",
    "sha256:9f8e7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4a39281706f5e4d3c2b1a0",
    "![i](data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4OHwAAAABJRU5ErkJggg==)",
    "h1:z7Kq2vBn9LmZ4rTyWd8sQe1FgHjKlx7Kq2vBn9LmZ4r=",
    "password = os.environ[\"DB_PASSWORD_1\"]",
    "password = os.getenv('DB_PASSWORD_1')",
    "const password = process.env.DB_PASSWORD1;",
    "password: ${DB_PASSWORD_1}",
    "password: {{ vault_password_1 }}",
    "PASSWORD=$DB_PASSWORD1",
    "password: $(cat /run/secrets/db1)",
    "password=%PASSWORD1%",
    "api_key = \"<your-key>\"",
    "api_key: <your-key-123>",
    "API_KEY=your-api-key-here-123",
    "api_key = \"YOUR_API_KEY_1234567890\"",
    "token: \"xxxxxxxxxxxxxxxxxxxx1\"",
    "password: ********",
    "password: changeme123",
    "password: [redacted]",
    "password: [secret: password]",
    "[secret: aws-access-key-id] and [private] stay",
    "gh¦p_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "gh¦p_short",
    "xgh¦p_9aB3kLmN0pQrS7tUvWxYz1A2b4C6d8E0fGh",
    "a GitHub token begins with gh¦p_ and an AWS key with AKI¦A",
    "sk-learn-contrib-something-with-hyphens",
    "task-0123456789abcdef0123456789abcdef",
    "AKI¦AXXXXXXXXXXXXXXXX",
    "AKI¦AQ3EGRZ7TK5DPW2MXTOOLONG",
    "let token = lexer.next_token();",
    "fn token(&self) -> Token2 { self.token }",
    "token: CancellationToken",
    "max_tokens: 4096, token_count = 128000",
    "nextPageToken: \"CAEQAA1b2C3d4E5f6G7h8\"",
    "the tokenizer splits a token at each space: token = word",
    "type Credentials = { password: string; token: string }",
    "password: Option<String>,",
    "secret: [u8; 32],",
    "password VARCHAR(255) NOT NULL",
    "password: varchar(255)",
    "def login(user, password=None):",
    "password = getpass.getpass()",
    "password = input(\"Password: \")",
    "password = hash_password(password, 12)",
    "password: self.config.password2",
    "user.password = user_password_1",
    "<input type=\"password\" name=\"password\" placeholder=\"Enter 8 characters\">",
    "\"password\": \"required|string|min:8\"",
    "error.password = \"must be at least 8 characters long\"",
    "label: \"Password\", value: \"Password\"",
    "The password is stored as a hash, never in plain text.",
    "the password is base64-encoded and the secret is sha256.",
    "Das Passwort ist abgelaufen, bitte ein neues setzen.",
    "le mot de passe est obligatoire",
    "密码是必填项",
    "密码：至少8位",
    "--- PASS: TestParseV2 (0.00s)",
    "first pass: 1200ms, and the second pass is 2500us",
    "PWD=/home/ana/project1",
    "PWD=/home/ana/projects/my-app-v2/backend",
    "PWD=/home/ana/projects/application2/backend",
    "bypass = \"k9mmQz77\"; compass: N42E17x",
    "password_file: /run/secrets/db_password1",
    "secret: /run/secrets/db1",
    "password: op://vault/item1/password",
    "secretName: db-credentials-1",
    "token_url = https://auth.example.com/oauth2/token",
    "https://example.com:8080/a@b",
    "https://ana@example.com/x",
    "http://localhost:3000/path?x=1",
    "git clone ssh://git@github.com:22/a/b.git",
    "postgres://app:${DB_PASS}@db/x",
    "postgres://app:$DB_PASS@db/x",
    "postgres://USER:<password>@HOST/db",
    "postgres://app:****@db/x",
    "Authorization: Bearer $TOKEN",
    "Authorization: Bearer <token>",
    "use Bearer authentication in the header",
    "Basic English and basic arithmetic",
    "Basic understanding",
    "-----BEGIN CERTIFICATE-----\nMIIEowIBAAKCAQEAx7Kq2vBn9LmZ4rTyWd8s\n-----END CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----\nMIIEowIBAAKCAQEAx7Kq2vBn9LmZ4rTyWd8s\n-----END PUBLIC KEY-----",
    "It begins with -----BEGIN RSA PRI¦VATE KEY----- and ends with -----END RSA PRI¦VATE KEY-----.",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIx7Kq2vBn9LmZ4rTyWd8sQe1FgHjKl ana@host",
    "ey¦JhbGciOiJIUzI1NiJ9 is the header of a JWT",
    "eyJoZWxsbyI6IndvcmxkIn0=",
    "pk_l¦ive_51H8xYzAbCdEfGhIjKlMnOp",
    "if (!token) throw new Error('no token: 401');",
    "csrf_token: {{ csrf_token() }}",
    "key: value1, password_min_length: 12",
    "pub const OPAL_SET_PW: u32 = 2183164128u32;",
    "const E_WRONG_PASSWORD: HRESULT = 0x80310037;",
    "const E_INVALID_TOKEN: WIN32_ERROR = WIN32_ERROR_12;",
    "pass: AtomicU64,",
    "private boolean isPrivate; <privateer>",
    // Code that compares and assigns.
    "if (password !== password2) return;",
    "if (password != confirmPassword2) {",
    "this.password === this.password2",
    "password == hash1",
    "if password == entered2 and token != token2:",
    "password = password1",
    "password = newPassword2;",
    "let secret = clientSecret1;",
    "const token = accessToken2;",
    "apiKey: apiKey1,",
    "UPDATE users SET password = :password1 WHERE id = :id1",
    "SET password = @password1",
    "password = ?1",
    "assertNotEquals(user1.password, user2.password)",
    "login(user, password=password1)",
    // References to what is kept elsewhere.
    "PASSWORD=\"$PASSWORD1\" ./run",
    "echo $PASSWORD1 | docker login --password-stdin",
    "mysql --password=$MYSQL_PASSWORD1",
    "password: ${{ secrets.DB_PASSWORD_1 }}",
    "token: \"${{ secrets.GITHUB_TOKEN2 }}\"",
    "Authorization: Bearer ${{ secrets.TOKEN_2 }}",
    "password: process.env.DB_PASSWORD1,",
    "const secret = process.env['APP_SECRET1'];",
    "secret: import.meta.env.VITE_SECRET1",
    "password = ENV['DB_PASSWORD1']",
    "password = ENV.fetch(\"DB_PASSWORD1\")",
    "password: !Ref DbPassword1",
    "password = var.db_password1",
    "password = data.vault_secret.db1.value",
    "password: {{ .Values.db.password1 }}",
    "password: !vault |",
    "String password = System.getenv(\"DB_PASSWORD1\");",
    "password = config.get('db.password1')",
    "password = secrets.DB_PASSWORD1",
    "DB_PASSWORD=${DB_PASSWORD:-}",
    "set PASSWORD=%DB_PASSWORD1%",
    "$env:PASSWORD = $env:DB_PASSWORD1",
    // Documentation.
    "--password PASSWORD1    the password (default: none)",
    "password: \"<PASSWORD-1>\"",
    "api_key: \"sk-...\"",
    "TOKEN=your_token_2",
    "password: string (min. 8 characters)",
    "- password: 8-64 characters",
];

fn real(text: &str) -> String {
    text.replace('¦', "")
}

#[test]
fn secrets_are_masked() {
    assert!(TRUE.len() >= 60);
    let mut wrong = Vec::new();
    for (text, want) in TRUE {
        let text = real(text);
        let got = masked(&text).map_or(text.clone(), |masked| masked.text);
        if got != *want {
            wrong.push(format!("{text:?}\n   want {want:?}\n   got  {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn other_texts_stay_as_they_are() {
    assert!(FALSE.len() >= 60);
    let mut wrong = Vec::new();
    for text in FALSE {
        let text = real(text);
        if let Some(masked) = masked(&text) {
            wrong.push(format!("{text:?}\n   got {:?}", masked.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn spans_are_in_order_and_between_characters() {
    for (text, _) in TRUE {
        let text = real(text);
        let mut last = 0;
        for span in find(&text) {
            assert!(last <= span.start && span.start < span.end, "{text}");
            assert!(text.is_char_boundary(span.start) && text.is_char_boundary(span.end), "{text}");
            last = span.end;
        }
    }
}
