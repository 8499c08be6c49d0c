//! Recognizes a reply that says only that its speaker does not know.
//!
//! Pure. Such a reply says so at its start: the speaker does not know, find or remember, was not told, or has nothing about
//! it. The words for each of these are given for eight languages, and match in this order only: *you have not told me*, but
//! not *you told me that you do not*.

use crate::memory::text::folding::folded;

/// Longest non-answer, in bytes: a longer reply has something to say beside it. Picked: three sentences.
const MAX_BYTES: usize = 400;

/// Characters at the start of a reply in which it says that it does not know.
const OPENING_CHARS: usize = 120;

/// Least characters of the first sentence; a shorter one is an exclamation (*Sorry!*), and the next one counts, too.
const MIN_SENTENCE_CHARS: usize = 24;

/// Returns true if the text is short and says at its start that its speaker does not know, remember or find something.
pub(crate) fn is_non_answer(text: &str) -> bool {
    let text = text.trim();
    if text.len() > MAX_BYTES {
        return false;
    }
    let is_end = |c: char| matches!(c, '.' | '!' | '?' | '\n' | '。' | '！' | '？' | '؟');
    let end = text
        .char_indices()
        .enumerate()
        .find(|(count, (_, c))| *count == OPENING_CHARS || (*count >= MIN_SENTENCE_CHARS && is_end(*c)));
    let opening = &text[..end.map_or(text.len(), |(_, (at, _))| at)];
    let opening =
        format!(" {} ", folded(opening)).replace('\u{2019}', "'").replace([',', '.', '!', '?', ';', ':'], " ");
    let is_ascii = opening.is_ascii();
    let mut forms = FORMS.iter().filter(|form| !is_ascii || form[0][0].is_ascii());
    has_negation(&opening, is_ascii) && forms.any(|form| follow(&opening, form))
}

/// Returns true if a folded text has a negation. Most texts have none, and are not compared with the forms.
fn has_negation(text: &str, is_ascii: bool) -> bool {
    let is_negation = |word: &str| {
        word.ends_with("n't")
            || word.starts_with("n'")
            || word.starts_with("kein")
            || word.starts_with("ليس")
            || NEGATIONS.contains(&word)
    };
    text.split_whitespace().any(is_negation)
        || (!is_ascii
            && (text.contains(|c: char| NEGATION_CHARS.contains(&c))
                || NEGATION_ENDINGS.iter().any(|end| text.contains(end))))
}

/// The words, Chinese characters and Japanese endings by which a text negates, folded.
#[rustfmt::skip]
const NEGATIONS: &[&str] = &[
    "not", "no", "nothing", "never", "none", "nobody", "unable", "cannot", "nicht", "nichts", "nie", "ne", "pas", "jamais",
    "rien", "aucun", "aucune", "j'ignore", "l'ignore", "ningun", "ninguna", "nunca", "nadie", "ni", "desconozco", "ignoro",
    "не", "нет", "ничего", "неизвестно", "никогда", "لا", "لم", "لست",
];
const NEGATION_CHARS: [char; 6] = ['不', '没', '沒', '未', '无', '無'];
const NEGATION_ENDINGS: [&str; 3] = ["ない", "ません", "なし"];

/// Returns true if the text has one of each of these lists, each behind the one before it.
fn follow(text: &str, lists: &[&[&str]]) -> bool {
    let Some((first, others)) = lists.split_first() else { return true };
    // The space at the end of one may begin the next.
    let ends = first.iter().filter_map(|words| text.find(words).map(|at| at + words.trim_end().len()));
    ends.min().is_some_and(|end| others.is_empty() || follow(&text[end..], others))
}

/// The forms of non-answers, folded, each as lists of words of which one stands behind the other: English, German, French,
/// Spanish, Russian, Arabic, Japanese, Chinese.
#[rustfmt::skip]
const FORMS: &[&[&[&str]]] = &[
    // I do not know, find, remember.
    &[&[" i don't ", " i do not ", " i didn't ", " i did not ", " i can't ", " i cannot ", " i couldn't ",
        " i could not ", " i wasn't ", " i was not ", " i was unable", " i am unable", " i'm unable", " i'm not ",
        " i am not ", " i haven't ", " i have not ", " we don't ", " we couldn't ", " sorry can't", " sorry don't"],
      &["know", "have any", "have info", "have access", "have that", "have a record", "have record", "have memor",
        "have detail", "have data", "have the ", "have anything", "find", "found", "recall", "remember", "see any",
        "see a ", "sure", "aware", "able to", "say ", "tell ", "locate", "come across", "been told", "been given",
        "certain", "familiar"]],
    &[&[" i have no ", " i've no ", " i've got no ", " there's no ", " there is no ", " there are no ",
        " there isn't any", " there aren't any", " no "],
      &["information", "record", "memory", "memories", "mention", "idea", "knowledge", "notes ", "entry", "entries",
        "trace", "results for", "result for", "matches for", "details about", "details on", "data about", "data on"]],
    &[&[" i have nothing", " i've nothing", " i've got nothing", " i found nothing", " nothing about ", " nothing on ",
        " nothing in my ", " nothing in our ", " nothing in the memor", " nothing was found", " nothing found",
        " no clue", " not in my memor", " not in my notes", " not in my records"]],
    &[&[" my memory ", " my memories ", " my notes ", " my records ", " our conversations ", " our history ",
        " searched my ", " checked my ", " looked through my ", " searched our ", " looked through our "],
      &["n't ", " not ", " no ", " nothing", " none"]],
    // I was not told.
    &[&[" you haven't ", " you have not ", " you've not ", " you never ", " you've never ", " you have never ",
        " you didn't ", " you did not ", " we haven't ", " we have not ", " we've not ", " we never ", " we've never ",
        " we have never ", " we didn't ", " that hasn't ", " this hasn't ", " it hasn't ", " that has not ",
        " nobody has ", " no one has ", " nobody "],
      &["told ", "tell ", "mention", "said ", "say ", "shared", "share ", "talked", "spoke", "discuss", "come up",
        "given me", "provided", "covered"]],
    &[&["weiss ich", "ich weiss", "ich erinnere", "entsinne ich", "mir ist", "mir sind", "ist mir", "sind mir",
        "ich kann", "kann ich", "ich konnte", "konnte ich", "ich bin", "bin ich", "ich finde", "finde ich", "liegen mir",
        "liegt mir", "mir liegt", "mir liegen", "ich kenne", "kenne ich"],
      &["leider nicht", "nicht bekannt", "nicht erinnern", "nicht finden", "nicht sicher", "nicht sagen", "nichts finden",
        "ich nichts", "mich nicht", "ich nicht", "weiss nicht", "es nicht", "finde nichts", "mir nichts", "keine inf",
        "keine daten", "keine angab", "nicht ganz sicher", "nichts ", "nicht "]],
    &[&["ich habe ", "habe ich ", "hab ich ", "ich hab ", " es gibt ", " gibt es ", " leider "],
      &["keine inf", "keine ang", "keine aufz", "keine erinn", "keine daten", "keine ahnung", "keine noti", "kein wissen",
        "keinen eintrag", "keine eintra", "keinen hinweis", "keine hinweise", "nichts gefunden", "nichts gespeichert",
        "nichts dazu", "nichts daruber", "nichts uber", "nichts zu", "nicht gefunden", "nichts notiert"]],
    &[&[" keine ahnung", " keine information", " keine angaben", " keine aufzeichnung"]],
    &[&[" du hast", " sie haben", " hast du", " haben sie", " ihr habt", " habt ihr", " wir haben", " haben wir",
        " wurde", " hat mir"],
      &[" nicht", " nie", " noch nichts", " nichts", " keine"],
      &["gesagt", "erzahlt", "erwahnt", "mitgeteilt", "gesprochen", "geredet", "besprochen", "unterhalten", "verraten",
        "genannt"]],
    &[&["du hast", "sie haben", "hast du", "haben sie"], &[" nicht gesagt", " nicht erzahlt", " nicht erwahnt"]],
    &[&[" in meine"], &[" nichts", " kein", " nicht"]],
    &[&[" je ne ", " je n'"],
      &["sais pas", "sais rien", "trouve pas", "trouve rien", "trouve aucun", "souviens pas", "rappelle pas",
        "suis pas sur", "connais pas", "dispose pas", "dispose d'aucun", "pas trouve", "rien trouve", "pas d'info",
        "aucune info", "aucune idee", "aucun souvenir", "aucune trace", "aucune donnee", "pas trace", "rien sur",
        "pas connaissance", "rien a ce sujet", "vois pas", "vois rien", "pas de souvenir", "pas acces", "ai rien",
        "peux pas dire", "pas retrouve", "rien note"]],
    &[&[" tu ne ", " tu n'", " vous ne ", " vous n'", " nous n'", " on n'", " on ne "], &["pas", "jamais", "rien"],
      &["dit", "parle", "mentionne", "raconte", "indique", "precise", "evoque", "discute", "donne"]],
    &[&[" aucun ", " aucune ", " rien dans "],
      &["souvenir", "information", "idee", "mention", "trace", "memoire", "notes ", "echange", "donnee"]],
    &[&["j'ignore", " je l'ignore"]],
    &[&[" no se ", " no lo se ", " no recuerdo", " no encuentro", " no encontre", " no he encontrado", " no he podido",
        " no pude encontrar", " no estoy segur", " no consta ", " no me consta", " no figura ", " no dispongo",
        " no conozco", " no tengo claro", " desconozco", " lo ignoro", " lo desconozco", " ni idea", " no sabria"]],
    &[&[" no tengo ", " no hay ", " no existe", " no aparece"],
      &["informacion", "registro", "idea", "constancia", "dato", "recuerdo", "nada sobre", "nada en mi", "nada acerca",
        "memoria", "nota", "mencion", "nada guardado", "conocimiento"]],
    &[&[" no me ", " no hemos ", " no has ", " no ha ", " nunca me ", " nunca hemos ", " nadie me "],
      &["dicho", "dijiste", "dijo", "hablado", "contado", "contaste", "mencionado", "mencionaste", "comentado",
        "proporcionado", "indicado"]],
    &[&[" ninguna ", " ningun "], &["informacion", "registro", "recuerdo", "mencion", "dato"]],
    &[&[" не знаю", " не помню", " не уверен", " не нашел", " не нашла", " не нашлось", " не удалось наити",
        " не могу наити", " не могу вспомнить", " не могу сказать", " неизвестно", " понятия не имею",
        " нет информации", " нет данных", " нет сведении", " нет записеи", " нет записи", " нет упоминани",
        " не располагаю", " не в курсе", " ничего не наи", " ничего не наш", " ничего нет ", " ничего не знаю",
        " ничего не помню", " не припомню", " не вижу", " не встречал"]],
    &[&[" вы ", " ты ", " мы ", " мне ", " вами ", " тобои "], &[" не ", " никогда не ", " ничего не "],
      &["говорил", "сказал", "рассказ", "упомина", "упомян", "сообщ", "обсужда", "обсудил", "делил", "называл",
        "касал"]],
    &[&[" в памяти ", " в моеи памяти ", " в моих ", " в записях "], &[" нет ", " ничего", " не "]],
    &[&[" لا "], &["اعرف", "اعلم", "ادري", "اتذكر", "اذكر", "املك", "امتلك", "يوجد", "توجد", "تتوفر", "يتوفر", "اجد"]],
    &[&["ليس لدي", "ليست لدي", "ليس عندي", " لست متاكد", " ليس في ذاكرتي", "لم اجد", "لم اعثر", "لم اتمكن"]],
    &[&[" لم "], &["تخبر", "تذكر", "نتحدث", "تقل", "تحدث", "يسبق", "تشارك", "يذكر", "نناقش"]],
    &[&["わかり", "分かり", "知り", "存じ", "覚えて", "見つかり", "見つけられ", "聞いて", "伺って", "教えて", "話して",
        "うかがって", "存じ上げ", "把握して", "思い出せ", "見当たり"],
      &["ません", "ない"]],
    &[&["わからな", "分からな", "知らない", "不明です", "覚えがな", "思い出せな"]],
    &[&["情報", "記録", "記憶", "心当たり", "でーた", "履歴"], &["ありません", "ない", "なし", "見つか", "見当たり"]],
    &[&["不知道", "不清楚", "不确定", "不確定", "不记得", "不記得", "找不到", "不了解", "不晓得", "想不起", "不太清楚"]],
    &[&["没有", "沒有", "没", "沒", "未", "从未", "无法", "無法", "无", "無"],
      &["找到", "相关", "相關", "关于", "關於", "告诉", "告訴", "提到", "提过", "提過", "提及", "聊过", "聊過", "谈过",
        "談過", "说过", "說過", "讨论", "討論", "确定", "確定", "记录", "記錄", "信息", "資料", "资料", "印象", "记忆",
        "記憶"]],
    &[&["记忆", "記憶", "记录", "記錄"], &["没有", "沒有", "不存在", "无", "無"]],
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
            "Hm. You never told me where the deploy key is.",
            "There is no mention of a deploy key in our conversations.",
            "Nothing in my notes is about a deploy key.",
            "I searched my memory, but the deploy key is not there.",
            "Das weiß ich leider nicht.",
            "Dazu habe ich keine Informationen.",
            "Du hast mir noch nicht gesagt, wo der Schlüssel liegt.",
            "Zum Schlüssel liegt mir nichts vor.",
            "Je ne sais pas où se trouve la clé.",
            "Vous ne m'avez pas encore parlé de la clé.",
            "Aucun souvenir ne mentionne la clé.",
            "Lo siento, no lo sé.",
            "Todavía no me has hablado de la llave.",
            "No tengo constancia de la llave.",
            "К сожалению, я не знаю, где ключ.",
            "Ты мне ещё не рассказывал про ключ.",
            "У меня нет записей о ключе.",
            "Мы не обсуждали ключ.",
            "لا أعرف أين المفتاح.",
            "لم تخبرني أين المفتاح.",
            "لا توجد لدي أي سجلات عن المفتاح.",
            "申し訳ありませんが、わかりません。",
            "鍵についてはまだ聞いていません。",
            "鍵に関する記録はありません。",
            "抱歉，我不知道钥匙在哪里。",
            "你还没有告诉我钥匙在哪里。",
            "我的记忆里没有钥匙。",
        ] {
            assert!(is_non_answer(text), "{text}");
        }
        let long =
            format!("I don't know the exact date, but {}", "the key was moved to the blue vault and ".repeat(12));
        for text in [
            "The deploy key lives in the blue vault.",
            "You told me that you do not eat nuts.",
            "You don't know how to swim, so the trip is on the shore.",
            "I found no errors in the script.",
            "The build fails because cargo can't find the linker cc.",
            "The key is not in the drawer. I do not know who took it.",
            "Der Schlüssel liegt im blauen Tresor.",
            "Du hast gesagt, dass du keine Nüsse isst.",
            "Tu m'as dit que tu ne manges pas de noix.",
            "Me dijiste que no comes nueces.",
            "Вы говорили, что не едите орехи.",
            "قلت إنك لا تأكل المكسرات.",
            "あなたはナッツを食べません。",
            "你说过你不吃坚果。",
            "The key for the gateway, the one that Ingrid keeps in the second drawer of the desk on the third floor of the \
             annex, opens doors that I don't know.",
            &long,
            "",
        ] {
            assert!(!is_non_answer(text), "{text}");
        }
    }
}
