//! Turns that carry nothing: *ok*, *thanks!*, *go on*, in eight languages. Pure.

/// Most words of a turn that may carry nothing. Picked: longer ones say something beside.
const MAX_WORD_COUNT: usize = 5;

/// Returns true if the text has neither a letter nor a digit, or only words that carry nothing by themselves: an answer
/// to a question is known from the question's turn.
pub(crate) fn carries_nothing(text: &str) -> bool {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '\u{2019}')
        .filter(|word| word.contains(char::is_alphanumeric))
        .take(MAX_WORD_COUNT + 1)
        .collect();
    words.len() <= MAX_WORD_COUNT && words.iter().all(|word| FILLERS.contains(word))
}

/// Words that acknowledge, thank, greet or go on.
#[rustfmt::skip]
const FILLERS: &[&str] = &[
    // English
    "ok", "okay", "k", "kk", "yes", "yep", "yeah", "yup", "no", "nope", "sure", "right", "fine", "good", "great", "cool",
    "nice", "perfect", "awesome", "thanks", "thank", "thx", "ty", "you", "please", "pls", "hi", "hello", "hey", "bye",
    "hm", "hmm", "oh", "ah", "wow", "lol", "continue", "go", "on", "ahead", "next", "proceed", "done", "got", "it", "lgtm",
    "very", "much", "so", "do", "a", "lot", "that's", "all", "agreed", "exactly", "indeed", "well",
    // German
    "ja", "nein", "gut", "danke", "bitte", "klar", "genau", "super", "prima", "weiter", "hallo", "tschüss", "passt", "schön",
    "dir", "ihnen", "sehr", "vielen", "dank", "mach", "alles",
    // French
    "oui", "non", "merci", "beaucoup", "d'accord", "d’accord", "bien", "parfait", "super", "salut", "bonjour", "continue", "vas",
    "y", "s'il", "te", "vous", "plaît", "très",
    // Spanish
    "sí", "si", "gracias", "muchas", "vale", "claro", "bueno", "perfecto", "hola", "adiós", "sigue", "por", "favor", "muy", "bien",
    // Russian
    "да", "нет", "ага", "угу", "ок", "окей", "спасибо", "большое", "хорошо", "ладно", "понятно", "отлично", "привет", "пока",
    "пожалуйста", "дальше", "продолжай", "конечно",
    // Arabic
    "نعم", "لا", "شكرا", "شكراً", "حسنا", "حسناً", "تمام", "مرحبا", "طيب", "جيد",
    // Japanese
    "はい", "いいえ", "うん", "ありがとう", "ありがとうございます", "了解", "了解です", "わかりました", "オーケー", "続けて", "お願いします",
    "こんにちは", "いいね",
    // Chinese
    "好", "好的", "好吧", "嗯", "嗯嗯", "是", "是的", "对", "不", "不是", "谢谢", "謝謝", "多谢", "继续", "繼續", "你好", "可以", "没问题", "行",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_judged_by_its_words() {
        for text in [
            "ok",
            "OK!",
            "thanks!",
            "Thank you very much.",
            "yes, go on",
            "👍",
            "...",
            "?!",
            "danke schön",
            "merci beaucoup",
            "muchas gracias",
            "хорошо, спасибо",
            "شكراً",
            "ありがとうございます。",
            "好的，谢谢！",
            "",
            "d'accord",
            "Hmm…",
        ] {
            assert!(carries_nothing(text), "{text}");
        }
        for text in [
            "PIN is 4711",
            "我对花生过敏",
            "下周三去北京开会",
            "我叫李雷",
            "42",
            "use tabs",
            "ok, use tabs",
            "no tests",
            "it's Bob",
            "yes yes yes yes yes yes",
            "猫が好き",
            "кот Мурзик",
            "thanks, Ingrid",
        ] {
            assert!(!carries_nothing(text), "{text}");
        }
    }
}
