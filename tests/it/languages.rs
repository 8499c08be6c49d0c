//! Languages: facts told in eight of them stand in one store among chatter in all of them, and each is the
//! first answer to a question that has its words in another form.

use serde_json::{Value, json};

use crate::harness::{Client, setup};

/// A fact, and questions whose first answer it is. Distractors stand below.
struct Told {
    language: &'static str,
    fact: &'static str,
    questions: &'static [&'static str],
}

const FACTS: &[Told] = &[
    Told {
        language: "English",
        fact: "The piano tuner charges ninety euros and comes twice a year.",
        questions: &["what do piano tuners charge?", "PIANO TUNING", "who was charging ninety euros"],
    },
    Told {
        language: "English",
        fact: "Anna's photography course in the mountains begins in October.",
        questions: &["when did Anna begin her photography courses?", "photographs mountain"],
    },
    Told {
        language: "Russian",
        fact: "Кошку Мурку мы возим к ветеринару на Садовой улице.",
        questions: &["к какому ветеринару возить кошек", "ветеринары на Садовых улицах", "МУРКА И КОШКА"],
    },
    Told {
        language: "Russian",
        fact: "Ключи от чёрного автомобиля лежат в верхнем ящике.",
        questions: &["где ключ от автомобилей", "черный автомобиль"],
    },
    Told {
        language: "German",
        fact: "Die Haustürschlüssel hängen beim Bäcker über der Kühltheke.",
        questions: &["wo ist der Haustürschlüssel", "Haustuerschluessel beim Baecker", "Kühltheken", "Haustür"],
    },
    Told {
        language: "German",
        fact: "Unsere Krankenversicherung kündigen wir zum großen Jahreswechsel.",
        questions: &[
            "wann kündigen wir die Krankenversicherung",
            "GROSSE Krankenversicherungen",
            "Krankenversicherungsbeitrag",
        ],
    },
    Told {
        language: "French",
        fact: "L'horloger a réparé la montre d'Édouard pour l'anniversaire de l'été.",
        questions: &["l’horloger d’Edouard", "qui a reparé les montres", "horlogers et anniversaires"],
    },
    Told {
        language: "French",
        fact: "J'ai rangé les clés du grenier qu'Hélène cherchait derrière l'œuvre encadrée.",
        questions: &["ou sont les cles du grenier", "Helene greniers", "une oeuvre encadrée"],
    },
    Told {
        language: "Spanish",
        fact: "El código del portón termina en siete y la señora Ibáñez lo sabe.",
        questions: &["codigo del porton", "señoras que saben los códigos", "IBANEZ"],
    },
    Told {
        language: "Spanish",
        fact: "Compramos los muebles antiguos en la tienda de Málaga.",
        questions: &["dónde compraron el mueble antiguo", "tiendas de malaga"],
    },
    Told {
        language: "Arabic",
        fact: "أرسلت الكِتَاب القديم إلى جدتي في مدينة طنجة.",
        questions: &["كتاب قديم", "والكتاب", "بمدينة طنجة", "أين الكُتُب القديمة"],
    },
    Told {
        language: "Arabic",
        fact: "موعد الطبيب يوم الخميس في المستشفى الكبير.",
        questions: &["متى موعد طبيب", "مستشفى", "المَوْعِد مع الطَّبِيب"],
    },
    Told {
        language: "Japanese",
        fact: "引っ越しの荷物のうち七箱は陶器です。",
        questions: &["陶器は何箱ですか", "引っ越し荷物", "陶器"],
    },
    Told {
        language: "Japanese",
        fact: "歯医者の予約はコンビニの隣のクリニックで取りました。",
        questions: &["歯医者はどこ", "ｺﾝﾋﾞﾆ", "クリニックの予約"],
    },
    Told {
        language: "Chinese", fact: "房东说冬天的暖气要自己烧木柴。", questions: &["暖气怎么烧", "木柴", "房东"]
    },
    Told {
        language: "Chinese",
        fact: "备用钥匙放在二楼邻居奥女士那里。",
        questions: &["钥匙在哪里", "备用钥匙", "奥女士"],
    },
];

/// Subjects of chatter, and how it is said in each language.
const CHATTER: &[&str] = &[
    "We talked about the weather and the garden again, the {} this time.",
    "Мы опять говорили о погоде и о саде, теперь про {}.",
    "Wir haben wieder über das Wetter und den Garten geredet, diesmal über {}.",
    "Nous avons encore parlé du temps et du jardin, cette fois de {}.",
    "Hablamos otra vez del tiempo y del jardín, esta vez de {}.",
    "تحدثنا مرة أخرى عن الطقس والحديقة وهذه المرة عن {}.",
    "また天気と庭の話をしました。今回は{}です。",
    "我们又谈了天气和花园，这次是{}。",
    "Somebody comes in October with a course of {} for ninety people.",
    "Улица была пустая, ключа от {} никто не искал.",
    "Die Frau vom Bäcker hat heute {} im großen Angebot.",
    "La clé de {} est chez le boulanger depuis l'hiver.",
    "La señora de la tienda preguntó por {}.",
    "المدينة كبيرة وفيها {}.",
    "隣の人は{}の予約をしました。",
    "邻居说{}很好。",
];

const SUBJECTS: &[&str] =
    &["roses", "тюльпаны", "Gurken", "tomates", "cebollas", "الزيتون", "紫陽花", "西瓜", "Kürbis", "яблони"];

fn first(client: &mut Client, question: &str) -> Value {
    let recalled = client.call("memory_recall", json!({"cue": question, "limit": 5}));
    recalled["hits"][0]["literal_surface"].clone()
}

/// Which questions have another first answer than their fact. A recall whose time is up gives what it has by
/// then, as on a busy machine it may be, so what seems wrong is asked again.
fn missed(client: &mut Client) -> Vec<String> {
    let mut missed = Vec::new();
    for told in FACTS {
        for question in told.questions {
            let is_first = (0..5).any(|_| first(client, question) == told.fact);
            if !is_first {
                missed.push(format!("{}: {question}: {}", told.language, first(client, question)));
            }
        }
    }
    missed
}

#[test]
fn facts_in_eight_languages_are_found_first_among_chatter_in_all_of_them() {
    let daemon = setup();
    let mut client = daemon.client();
    let chatter: Vec<String> =
        CHATTER.iter().flat_map(|said| SUBJECTS.iter().map(move |subject| said.replace("{}", subject))).collect();
    let share = chatter.len() / FACTS.len();
    for (at, told) in FACTS.iter().enumerate() {
        for (n, text) in chatter[at * share..(at + 1) * share].iter().enumerate() {
            client.call("memory_capture", json!({"text": text, "session_id": format!("chatter {at} {}", n / 4)}));
        }
        let captured = client.call("memory_capture", json!({"text": told.fact, "session_id": format!("fact {at}")}));
        assert_eq!(captured["status"], "inserted", "{}", told.fact);
    }
    for said in CHATTER.iter().rev() {
        client.call("memory_capture", json!({"text": said.replace("{}", "everything"), "session_id": "the end"}));
    }
    assert_eq!(missed(&mut client), [""; 0]);
    // Asleep words are learned that keep company, and links are made: they are no worse then.
    client.call("memory_consolidate", json!({}));
    assert_eq!(missed(&mut client), [""; 0], "after a night");
}
