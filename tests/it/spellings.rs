//! One word, many spellings: two spellings of a word find each other, the one that was asked for comes first, and words
//! that only look alike stay apart.

use serde_json::{Value, json};

use crate::harness::{Client, Daemon, setup};

/// Two spellings of one word.
const MEET: &[(&str, &str)] = &[
    // Humps.
    ("getUserById", "get user by id"),
    ("getUserById", "get_user_by_id"),
    ("getInvoiceTotal", "get-invoice-total"),
    ("MyHTTPServer", "http server"),
    ("XMLHttpRequest", "http request"),
    ("parseJSONBody", "json body"),
    ("GitHub", "git hub"),
    ("YouTube", "youtube"),
    ("PostgreSQL", "postgresql"),
    ("useEffect", "use effect"),
    ("kMaxRetries", "max retries"),
    ("ПолучитьЗаказ", "получить заказ"),
    ("berechneGesamtSumme", "berechne gesamt summe"),
    ("calculerTotalFacture", "calculer total facture"),
    // Letters and digits.
    ("OAuth2", "oauth"),
    ("Python3", "python"),
    ("Python3", "python 3"),
    ("sha256", "sha-256"),
    ("utf8", "UTF-8"),
    ("JIRA-1234", "JIRA1234"),
    ("GPT4", "GPT-4"),
    ("vier4you", "vier 4 you"),
    ("HTTP2", "http/2"),
    ("Windows11", "windows 11"),
    ("Größe42", "größe 42"),
    // Humps with digits.
    ("isIPv6Enabled", "ipv6"),
    ("TLSv1", "tls"),
    ("getHTTP2Client", "http2 client"),
    ("S3BucketName", "S3"),
    ("base64Encode", "base64"),
    ("SHA256Hash", "sha256"),
    ("md5sum", "md5"),
    ("parseIntoI32", "i32"),
    ("K8sClusterName", "k8s cluster"),
    ("handleOAuth2Callback", "oauth2 callback"),
    ("iOSBuildNumber", "ios build"),
    ("0x7fff", "7fff"),
    // Joined, hyphened, spaced.
    ("on-call", "oncall"),
    ("e-mail", "email"),
    ("roadtrip", "road trip"),
    ("road-trip", "roadtrip"),
    ("code base", "codebase"),
    ("web hooks", "webhook"),
    ("real-time", "realtime"),
    ("left-pad", "leftpad"),
    ("state-of-the-art", "state of the art"),
    ("data base schema", "databaseschema"),
    ("интернет-магазин", "интернетмагазин"),
    ("веб сайт", "вебсайт"),
    ("Datenbank-Server", "Datenbankserver"),
    ("week-end", "weekend"),
    ("porte-monnaie", "portemonnaie"),
    ("socio-económico", "socioeconomico"),
    ("عبد الله", "عبدالله"),
    ("レオナルド・ダ・ヴィンチ", "レオナルドダヴィンチ"),
    ("电子-邮件", "电子邮件"),
    ("col·lecció", "colleccio"),
    // Dots, underscores, other marks.
    ("Node.js", "nodejs"),
    ("Node.js", "node js"),
    ("main.rs", "main rs"),
    ("snake_case_name", "snakeCaseName"),
    ("max_connections", "maxConnections"),
    ("TCP/IP", "tcpip"),
    ("CI/CD", "cicd"),
    ("AT&T", "ATT"),
    ("R&D", "RD"),
    ("O'Brien", "OBrien"),
    (".NET", "dotnet"),
    (".env", "dotenv"),
    ("C++", "cpp"),
    ("C#", "csharp"),
    ("F#", "fsharp"),
    ("notepad++", "notepadpp"),
    ("ASP.NET", "aspnet"),
    ("c sharp", "C#"),
    ("t shirt", "tshirt"),
    ("00:1A:2B:3C:4D:5E", "001A2B3C4D5E"),
    // Numbers.
    ("1,250,000", "1250000"),
    ("1.250.000", "1250000"),
    ("1'250'000", "1,250,000"),
    ("1 250 000", "1250000"),
    ("2\u{202F}400\u{202F}000", "2400000"),
    ("1_000_000", "1000000"),
    ("12,34,567", "1234567"),
    ("14:30", "14.30"),
    ("3½", "3 1/2"),
    ("555-1234", "5551234"),
    ("2026-11-22", "20261122"),
    ("v2.1.0", "2.1.0"),
    ("3,14159", "3.14159"),
    ("５０００", "5000"),
    ("٤٥٦٧", "4567"),
    ("(555) 010-9999", "5550109999"),
    ("+49 30 901820-17", "+493090182017"),
    ("4111 1111 1111 1111", "4111111111111111"),
    ("020 7946 0958", "+442079460958"),
    ("02078920123", "+44 20 7892 0123"),
    ("+44 (0)161 496-0753", "01614960753"),
    ("0049 40 556-6778", "040/5566778"),
    ("8 (495) 123-45-67", "+74951234567"),
    ("0151 2345 6789", "+4915123456789"),
    ("612 345 987", "+34612345987"),
    ("+1 646 555 0182", "(646) 555-0182"),
    // Compatibility forms.
    ("H₂O", "H2O"),
    ("CO₂", "co2"),
    ("x²y", "x2y"),
    ("ｇｒｅｐ", "grep"),
    ("5㎏", "5kg"),
    ("12㎡", "12 m2"),
    ("⑫", "12"),
    ("ﻣﺪﺭﺳﺔ", "مدرسة"),
    ("ﬁle", "file"),
    ("Ⅷ", "VIII"),
    ("𝐇𝐞𝐥𝐥𝐨", "hello"),
    ("ｶﾞｲﾄﾞ", "ガイド"),
    ("コーヒー", "こーひー"),
    // Other letters.
    ("Müller", "Mueller"),
    ("Müller", "Muller"),
    ("Größe", "Groesse"),
    ("Ägypten", "Aegypten"),
    ("Århus", "Aarhus"),
    ("Sørensen", "Soerensen"),
    ("cœur", "coeur"),
    ("niño", "nino"),
    ("Zoë", "zoe"),
    ("Łukasz", "Lukasz"),
    ("Фёдор", "Федор"),
    ("إسلام", "اسلام"),
    ("Straße", "STRASSE"),
    // Said and written out.
    ("C++", "c plus plus"),
    ("F#", "f sharp"),
    ("14:30", "2:30 pm"),
    ("14:30", "1430"),
    ("3 pm", "15:00"),
    ("14h30", "14:30"),
    ("16 Uhr", "16:00"),
    ("09:05", "9:05"),
    ("v2", "version 2"),
    ("#0042", "42"),
    ("4K", "4 k"),
    ("7 µm", "7 μm"),
    // Hashes.
    ("9f8e7d6c1a2b3c4d", "9f8e7d6"),
    ("0a1b2c3d4e5f60718293a4b5c6d7e8f901234567", "0a1b2c3d4e"),
    ("deadbee4f00d1234", "deadbee"),
    ("550e8400-e29b-41d4-a716-446655440000", "550e8400e29b41d4a716446655440000"),
];

/// Words that differ in more than spelling.
const APART: &[(&str, &str)] = &[
    ("C", "C++"),
    ("C", "C#"),
    ("C++", "C#"),
    ("C#", "F#"),
    ("C++", "G++"),
    ("F", "F#"),
    ("E0308", "E0382"),
    ("E0308", "E0309"),
    ("2.1.0", "2.10.1"),
    ("2.1.0", "2.1.1"),
    ("2.1.0", "210"),
    ("2.10", "2.1.0"),
    ("1.0.2", "10.2"),
    ("3.14", "314"),
    ("v1.2", "v12"),
    ("1,250", "1251"),
    ("10-20", "1020"),
    ("192.168.1.10", "192.168.11.0"),
    ("room12", "room13"),
    ("JIRA-1234", "OPS-1235"),
    ("1234567", "12345678"),
    ("9f8e7d6c1a2b3c", "9f8e7d7"),
    ("9f8e7d6c1a2b3c", "9f8e7d6d1a2b3c"),
    ("blue", "blu"),
    ("poet", "pot"),
    ("Goethe", "Gothe"),
    ("fuel", "full"),
    ("boat", "bot"),
    ("coed", "cod"),
    ("Bauer", "Baur"),
    ("therapist", "rapist"),
    ("nowhere", "here now"),
    ("manslaughter", "laughter"),
    ("java", "javascript"),
    ("H2O", "H2O2"),
    ("IPv4", "IPv6"),
    ("utf8", "utf16"),
    ("x86", "x64"),
    ("S3", "S4"),
    ("python2", "python3"),
    ("1 250", "1251"),
    ("3 pm", "3 am"),
    ("007", "070"),
    ("v2", "version 3"),
    ("k8s", "k3s"),
    ("(555) 010-9999", "5550109998"),
    ("4111 1111 1111 1111", "4111111111111112"),
    ("2026-11-22 10:30", "22112026"),
];

/// Words of which the second one has the first with other letters or with marks.
const PLAIN: &[(&str, &str)] = &[
    ("node", "node.js"),
    ("net", ".NET"),
    ("clang", "clang++"),
    ("schon", "schön"),
    ("Masse", "Maße"),
    ("peche", "pêche"),
    ("Apple", "apple"),
    ("polish", "Polish"),
    ("--force", "force"),
    ("-v", "-V"),
    ("v", "-v"),
    ("1.0.0", "1.0.0-alpha"),
    ("parser", "parser_state"),
    ("5", "-5"),
];

/// Starts a daemon whose store has a sentence with each spelling.
fn store_of<'s>(spellings: impl Iterator<Item = &'s str>) -> (Daemon, Client) {
    let daemon = setup();
    let mut client = daemon.client();
    for (n, spelling) in spellings.enumerate() {
        let params = json!({"text": sentence(spelling, n), "session_id": format!("s{n}")});
        assert_eq!(client.call("memory_capture", params)["status"], "inserted", "{spelling}");
    }
    (daemon, client)
}

fn sentence(spelling: &str, n: usize) -> String {
    let letters: String = n.to_string().bytes().map(|digit| (digit - b'0' + b'k') as char).collect();
    format!("we saw {spelling} there, zqj{letters}")
}

fn hits(client: &mut Client, cue: &str) -> Vec<String> {
    let got = client.call("memory_recall", json!({"cue": cue, "limit": 5}));
    let text = |hit: &Value| hit["literal_surface"].as_str().unwrap().to_owned();
    got["hits"].as_array().unwrap().iter().map(text).collect()
}

fn has(hits: &[String], at: usize, spelling: &str) -> bool {
    hits.get(at).is_some_and(|hit| hit.contains(&format!(" saw {spelling} there")))
}

#[test]
fn two_spellings_of_a_word_find_each_other() {
    assert!(MEET.len() >= 80);
    let mut missed = Vec::new();
    let pairs = |is_swapped: bool| MEET.iter().map(move |&(a, b)| if is_swapped { (b, a) } else { (a, b) });
    for is_swapped in [false, true] {
        let (_daemon, mut client) = store_of(pairs(is_swapped).map(|(record, _)| record));
        for (record, cue) in pairs(is_swapped) {
            let hits = hits(&mut client, cue);
            // Other pairs of the table have the same word.
            if !(0..5).any(|at| has(&hits, at, record)) {
                missed.push(format!("{cue} does not find {record}: {hits:?}"));
            }
        }
    }
    assert_eq!(missed, [""; 0]);
}

#[test]
fn the_spelling_that_was_asked_for_comes_first() {
    let mut missed = Vec::new();
    let (_daemon, mut client) = store_of(MEET.iter().flat_map(|&(a, b)| [a, b]));
    for &(a, b) in MEET {
        for (cue, other) in [(a, b), (b, a)] {
            let hits = hits(&mut client, cue);
            // Adjacent words are the same ones with a mark between them.
            let spaced = |text: &str| text.replace(['-', '_'], " ");
            let is_first = hits.first().is_some_and(|hit| spaced(hit).contains(&spaced(cue)));
            if !is_first && cue.to_lowercase() != other.to_lowercase() {
                missed.push(format!("{cue}: {hits:?}"));
            }
        }
    }
    assert_eq!(missed, [""; 0]);
}

#[test]
fn words_that_only_look_alike_stay_apart() {
    assert!(APART.len() >= 40);
    let mut found = Vec::new();
    for (n, &(a, b)) in APART.iter().enumerate() {
        for (cue, other) in [(a, b), (b, a)] {
            let (_daemon, mut client) = store_of([other].into_iter());
            let hits = hits(&mut client, cue);
            if !hits.is_empty() {
                found.push(format!("{n}: {cue} finds {other}"));
            }
        }
    }
    assert_eq!(found, [""; 0]);
}

#[test]
fn a_plain_word_comes_before_the_same_one_with_marks() {
    let mut missed = Vec::new();
    for &(plain, marked) in PLAIN {
        let (_daemon, mut client) = store_of([plain, marked].into_iter());
        for cue in [plain.to_owned(), format!("what do we know about {plain}?")] {
            let hits = hits(&mut client, &cue);
            if !has(&hits, 0, plain) || !has(&hits, 1, marked) {
                missed.push(format!("{cue}: {hits:?}"));
            }
        }
    }
    assert_eq!(missed, [""; 0]);
}
