//! Recognizes a reply that says only that its speaker does not know.
//!
//! Pure. The phrases are the usual forms of such a reply in eight languages.

/// Longest non-answer, in bytes: a longer reply has something to say beside it. Picked: three sentences.
const MAX_BYTES: usize = 400;

/// Characters at the start of a reply in which it says that it does not know: its first sentence.
const OPENING_CHARS: usize = 100;

/// Returns true if the text is short and says at its start that its speaker does not know, remember or find something.
pub(crate) fn is_non_answer(text: &str) -> bool {
    let text = text.trim();
    if text.len() > MAX_BYTES {
        return false;
    }
    let end = text.char_indices().nth(OPENING_CHARS).map_or(text.len(), |(at, _)| at);
    let opening = &text[..end];
    let is_ascii = opening.is_ascii();
    let opening = match is_ascii {
        true => opening.to_ascii_lowercase(),
        false => opening.to_lowercase().replace('\u{2019}', "'").replace('ß', "ss"),
    };
    let has_any = |phrases: &[&str]| phrases.iter().any(|phrase| opening.contains(phrase));
    let mut negations = PHRASES.iter().filter(|(negation, _)| !is_ascii || negation.is_ascii());
    negations.any(|(negation, phrases)| opening.contains(negation) && has_any(phrases))
}

/// A negation, and the phrases with it, so that most texts are compared with the negations only. In lower case, with ss
/// for ß and ' for ’: English, German, French, Spanish, Russian, Arabic, Japanese, Chinese.
#[rustfmt::skip]
const PHRASES: &[(&str, &[&str])] = &[
    ("n't ", &["don't know", "don't have any", "don't have information", "don't have a record", "couldn't find",
        "can't find", "didn't find", "don't recall", "don't remember", "haven't told me", "haven't mentioned",
        "can't say", "don't see any", "can't tell"]),
    ("not ", &["do not know", "not sure", "do not have any", "do not have information", "do not have a record",
        "could not find", "cannot find", "did not find", "do not recall", "do not remember", "have not told me",
        "have not mentioned", "not aware of", "cannot say", "do not see any", "cannot tell"]),
    ("no ", &["have no information", "have no record", "have no memory", "no information about", "no record of",
        "have no idea", "no lo sé", "no tengo información", "no tengo ni idea", "no encontré", "no he encontrado",
        "no encuentro", "no estoy seguro", "no recuerdo", "no sé "]),
    ("no sé", &["no sé.", "no sé,"]),
    ("unable to", &["unable to find"]),
    ("nicht", &["weiss ich nicht", "weiss ich leider nicht", "ich weiss nicht", "ich weiss es nicht",
        "ich weiss leider nicht", "mir nicht bekannt", "nicht finden", "nicht sicher", "kann ich nicht sagen",
        "erinnere mich nicht", "nichts gefunden"]),
    ("keine ", &["keine information", "keine angaben", "keine ahnung"]),
    ("je n", &["je ne sais pas", "je ne le sais pas", "je n'ai pas trouvé", "je n'ai rien trouvé",
        "je ne me souviens pas", "je ne trouve pas", "je n'ai pas d'information"]),
    ("aucune ", &["aucune information", "aucune idée"]),
    ("ignor", &["je l'ignore", "lo ignoro"]),
    ("pas s", &["pas sûr"]),
    ("desconozco", &["desconozco"]),
    ("ninguna ", &["ninguna información"]),
    ("не", &["не знаю", "нет информации", "нет данных", "нет сведений", "ничего не наш", "не удалось найти",
        "не уверен", "не помню", "мне неизвестно", "не могу сказать", "понятия не имею"]),
    ("لا ", &["لا أعرف", "لا اعرف", "لا أعلم", "لا اعلم", "لا أدري", "لا توجد معلومات", "لا أتذكر", "لا أذكر"]),
    ("ليس", &["ليس لدي", "ليست لدي"]),
    ("لم ", &["لم أجد"]),
    ("لست ", &["لست متأكد"]),
    ("ません", &["わかりません", "分かりません", "知りません", "存じません", "覚えていません", "情報がありません",
        "情報はありません", "見つかりません", "見つけられません"]),
    ("から", &["わからない"]),
    ("分から", &["分からない"]),
    ("不", &["不明です", "不知道", "不清楚", "不确定", "不確定", "不记得", "不記得", "找不到"]),
    ("没", &["没有找到", "没找到", "没有相关", "没有关于", "没有任何", "没有这方面"]),
    ("沒有", &["沒有找到", "沒有相關", "沒有關於"]),
    ("无法", &["无法确定"]),
    ("無法", &["無法確定"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn non_answers_are_told_from_answers() {
        for text in [
            "I don't know where the deploy key is.",
            "I\u{2019}m sorry, but I do not know.",
            "Sorry, I couldn't find anything about a deploy key.",
            "Das weiß ich leider nicht.",
            "Dazu habe ich keine Informationen.",
            "Je ne sais pas où se trouve la clé.",
            "Lo siento, no lo sé.",
            "К сожалению, я не знаю, где ключ.",
            "لا أعرف أين المفتاح.",
            "申し訳ありませんが、わかりません。",
            "抱歉，我不知道钥匙在哪里。",
        ] {
            assert!(is_non_answer(text), "{text}");
        }
        let long =
            format!("I don't know the exact date, but {}", "the key was moved to the blue vault and ".repeat(12));
        for text in [
            "The deploy key lives in the blue vault.",
            "Der Schlüssel liegt im blauen Tresor.",
            "The key for the gateway, the one that Ingrid keeps in the second drawer of the desk on the third floor of the \
             annex, opens doors that I don't know.",
            &long,
            "",
        ] {
            assert!(!is_non_answer(text), "{text}");
        }
    }
}
