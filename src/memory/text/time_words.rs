//! Words of times: the phrases, units, numbers, months and weekdays that `time_phrase.rs` reads, folded.
//!
//! Pure.

use crate::memory::text::features::DatePart;
use crate::memory::text::stop_words;

/// What a relative phrase counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Minute,
    Hour,
    Day,
    Week,
    /// Saturday and Sunday; 0 from now are the last ones that have begun.
    Weekend,
    Month,
    Quarter,
    Year,
}

use Unit::{Day, Hour, Minute, Month, Quarter, Week, Weekend, Year};

/// The number that *a few* is.
pub(crate) const FEW: i64 = 0;

/// Phrases of whole folded words, the longer of two that begin alike first, each with a unit and how many of it from now.
#[rustfmt::skip]
pub(crate) const PHRASES: &[(&str, Unit, i64)] = &[
    ("day before yesterday", Day, -2), ("vorgestern", Day, -2), ("avant hier", Day, -2), ("anteayer", Day, -2),
    ("antes de ayer", Day, -2), ("позавчера", Day, -2), ("اول امس", Day, -2), ("altro ieri", Day, -2),
    ("anteontem", Day, -2), ("eergisteren", Day, -2), ("antier", Day, -2),
    ("yesterday", Day, -1), ("last night", Day, -1), ("gestern", Day, -1), ("hier", Day, -1), ("ayer", Day, -1),
    ("anoche", Day, -1), ("вчера", Day, -1), ("امس", Day, -1), ("letzte nacht", Day, -1), ("nuit derniere", Day, -1),
    ("ieri", Day, -1), ("ontem", Day, -1), ("gisteren", Day, -1), ("hier soir", Day, -1), ("hier matin", Day, -1),
    ("البارحه", Day, -1),
    ("today", Day, 0), ("this morning", Day, 0), ("tonight", Day, 0), ("heute", Day, 0), ("aujourd hui", Day, 0),
    ("ce matin", Day, 0), ("hoy", Day, 0), ("esta manana", Day, 0), ("сегодня", Day, 0), ("اليوم", Day, 0),
    ("oggi", Day, 0), ("hoje", Day, 0), ("vandaag", Day, 0), ("this afternoon", Day, 0), ("this evening", Day, 0),
    ("cet apres midi", Day, 0), ("ce soir", Day, 0), ("esta tarde", Day, 0), ("esta noche", Day, 0),
    ("هذا الصباح", Day, 0), ("هذا المساء", Day, 0),
    ("at the weekend", Weekend, 0), ("on the weekend", Weekend, 0), ("over the weekend", Weekend, 0),
    ("this weekend", Weekend, 0), ("am wochenende", Weekend, 0), ("dieses wochenende", Weekend, 0),
    ("ce week end", Weekend, 0), ("este fin de semana", Weekend, 0), ("на выходных", Weekend, 0),
    ("в выходные", Weekend, 0),
    ("last weekend", Weekend, -1), ("letztes wochenende", Weekend, -1), ("letzten wochenende", Weekend, -1),
    ("vergangenes wochenende", Weekend, -1), ("week end dernier", Weekend, -1), ("weekend dernier", Weekend, -1),
    ("fin de semana pasado", Weekend, -1), ("прошлые выходные", Weekend, -1), ("прошлых выходных", Weekend, -1),
    ("last week", Week, -1), ("previous week", Week, -1), ("letzte woche", Week, -1), ("letzter woche", Week, -1),
    ("vorige woche", Week, -1), ("voriger woche", Week, -1), ("vergangene woche", Week, -1),
    ("semaine derniere", Week, -1), ("semaine passee", Week, -1), ("semana pasada", Week, -1),
    ("прошлои неделе", Week, -1), ("прошлую неделю", Week, -1), ("الاسبوع الماضي", Week, -1),
    ("settimana scorsa", Week, -1), ("scorsa settimana", Week, -1), ("semana passada", Week, -1),
    ("vorige week", Week, -1), ("afgelopen week", Week, -1), ("past week", Week, -1), ("letzten woche", Week, -1),
    ("vergangenen woche", Week, -1), ("derniere semaine", Week, -1), ("ultima semana", Week, -1),
    ("pasada semana", Week, -1), ("прошлои недели", Week, -1),
    ("this week", Week, 0), ("diese woche", Week, 0), ("dieser woche", Week, 0), ("cette semaine", Week, 0),
    ("esta semana", Week, 0), ("этои неделе", Week, 0), ("هذا الاسبوع", Week, 0),
    ("last month", Month, -1), ("previous month", Month, -1), ("letzten monat", Month, -1),
    ("letzter monat", Month, -1), ("vorigen monat", Month, -1), ("mois dernier", Month, -1),
    ("mois passe", Month, -1), ("mes pasado", Month, -1), ("прошлом месяце", Month, -1),
    ("прошлыи месяц", Month, -1), ("الشهر الماضي", Month, -1), ("mese scorso", Month, -1), ("scorso mese", Month, -1),
    ("mes passado", Month, -1), ("vorige maand", Month, -1), ("past month", Month, -1), ("vergangenen monat", Month, -1),
    ("letzten monats", Month, -1), ("dernier mois", Month, -1), ("ultimo mes", Month, -1), ("прошлого месяца", Month, -1),
    ("last quarter", Quarter, -1), ("previous quarter", Quarter, -1), ("letztes quartal", Quarter, -1),
    ("letzten quartal", Quarter, -1), ("dernier trimestre", Quarter, -1), ("trimestre dernier", Quarter, -1),
    ("trimestre pasado", Quarter, -1), ("прошлом квартале", Quarter, -1), ("الربع الماضي", Quarter, -1),
    ("this quarter", Quarter, 0), ("dieses quartal", Quarter, 0), ("diesem quartal", Quarter, 0),
    ("ce trimestre", Quarter, 0), ("este trimestre", Quarter, 0), ("этом квартале", Quarter, 0),
    ("this month", Month, 0), ("diesen monat", Month, 0), ("diesem monat", Month, 0), ("ce mois", Month, 0),
    ("este mes", Month, 0), ("этом месяце", Month, 0), ("هذا الشهر", Month, 0),
    ("last year", Year, -1), ("letztes jahr", Year, -1), ("letzten jahr", Year, -1), ("voriges jahr", Year, -1),
    ("vorigen jahr", Year, -1), ("annee derniere", Year, -1), ("an dernier", Year, -1), ("ano pasado", Year, -1),
    ("прошлом году", Year, -1), ("прошлыи год", Year, -1), ("العام الماضي", Year, -1), ("السنه الماضيه", Year, -1),
    ("past year", Year, -1), ("vergangenen jahr", Year, -1), ("letzten jahres", Year, -1), ("an passe", Year, -1),
    ("annee passee", Year, -1), ("pasado ano", Year, -1), ("прошлого года", Year, -1),
    ("anno scorso", Year, -1), ("scorso anno", Year, -1), ("ano passado", Year, -1), ("vorig jaar", Year, -1),
    ("this year", Year, 0), ("dieses jahr", Year, 0), ("diesem jahr", Year, 0), ("cette annee", Year, 0),
    ("este ano", Year, 0), ("этом году", Year, 0), ("هذا العام", Year, 0), ("هذه السنه", Year, 0),
];

/// A phrase that has another meaning in another language: French *hier* is German for *here*.
pub(crate) struct AmbiguousPhrase {
    pub(crate) phrase: &'static str,
    /// The bit of the language in which it is a time.
    pub(crate) language: u16,
    /// The bit of the other one.
    pub(crate) other: u16,
    /// Letters that only the first language has.
    pub(crate) letters: &'static [char],
}

pub(crate) const AMBIGUOUS_PHRASES: &[AmbiguousPhrase] = &[AmbiguousPhrase {
    phrase: "hier",
    language: stop_words::FRENCH,
    other: stop_words::GERMAN,
    letters: &['é', 'è', 'ê', 'à', 'ç', 'œ', 'î', 'ô', 'û', 'ù'],
}];

/// Names of months that are other words in another language, each with the words before it that make it a month: French
/// *en mars*, not *life on Mars*; English *in Mar*, not Spanish *el mar*.
pub(crate) const AMBIGUOUS_MONTHS: &[(&str, &[&str])] = &[
    ("mars", &["en", "au", "depuis", "de", "le", "mois"]),
    ("mar", &["in", "on", "last", "since", "during"]),
    ("sept", &["in", "on", "last", "since", "during"]),
];

/// The same in Japanese and Chinese, which have no spaces.
#[rustfmt::skip]
pub(crate) const SPACELESS: &[(&str, Unit, i64)] = &[
    ("大前天", Day, -3), ("一昨日", Day, -2), ("おととい", Day, -2), ("前天", Day, -2),
    ("昨日", Day, -1), ("きのう", Day, -1), ("昨夜", Day, -1), ("昨晩", Day, -1), ("昨天", Day, -1), ("昨晚", Day, -1),
    ("今日", Day, 0), ("今朝", Day, 0), ("今天", Day, 0), ("今早", Day, 0),
    ("先週末", Weekend, -1), ("上周末", Weekend, -1), ("上週末", Weekend, -1),
    ("先週", Week, -1), ("上周", Week, -1), ("上週", Week, -1), ("上星期", Week, -1), ("上个星期", Week, -1),
    ("上個星期", Week, -1), ("上礼拜", Week, -1),
    ("今週", Week, 0), ("这周", Week, 0), ("本周", Week, 0), ("這週", Week, 0), ("这个星期", Week, 0), ("这星期", Week, 0),
    ("先月", Month, -1), ("上个月", Month, -1), ("上個月", Month, -1), ("上月", Month, -1),
    ("前四半期", Quarter, -1), ("上季度", Quarter, -1), ("上个季度", Quarter, -1), ("今四半期", Quarter, 0),
    ("本季度", Quarter, 0), ("这个周末", Weekend, 0), ("這個週末", Weekend, 0), ("この週末", Weekend, 0),
    ("今月", Month, 0), ("这个月", Month, 0), ("這個月", Month, 0), ("本月", Month, 0),
    ("去年", Year, -1), ("昨年", Year, -1), ("今年", Year, 0),
];

/// Units in the forms that numbers stand with.
#[rustfmt::skip]
pub(crate) const UNITS: &[(Unit, &[&str])] = &[
    (Minute, &["minute", "minutes", "minuten", "minuto", "minutos", "минуту", "минуты", "минут", "دقيقه", "دقائق"]),
    (Hour, &["hour", "hours", "stunde", "stunden", "heure", "heures", "hora", "horas", "час", "часа", "часов", "ساعه",
             "ساعات"]),
    (Day, &["day", "days", "tag", "tage", "tagen", "jour", "jours", "dia", "dias", "день", "дня", "днеи", "يوم", "ايام",
            "يومين"]),
    (Week, &["week", "weeks", "woche", "wochen", "semaine", "semaines", "semana", "semanas", "неделю", "недели",
             "недель", "اسبوع", "اسابيع", "اسبوعين"]),
    (Month, &["month", "months", "monat", "monate", "monaten", "mois", "mes", "meses", "месяц", "месяца", "месяцев",
              "شهر", "اشهر", "شهرين"]),
    (Year, &["year", "years", "jahr", "jahre", "jahren", "an", "ans", "annee", "annees", "ano", "anos", "год", "года",
             "лет", "سنه", "سنوات", "سنتين", "عام", "عامين"]),
];

pub(crate) const SPACELESS_UNITS: &[(Unit, &[&str])] = &[
    (Minute, &["分前", "分钟前", "分鐘前"]),
    (Hour, &["時間前", "小时前", "小時前"]),
    (Day, &["日前", "天前"]),
    (Week, &["週間前", "周前", "週前", "星期前", "个星期前", "個星期前"]),
    (Month, &["か月前", "ヶ月前", "カ月前", "ヵ月前", "个月前", "個月前"]),
    (Year, &["年前"]),
];

/// The numbers one to ten.
#[rustfmt::skip]
pub(crate) const NUMBERS: &[&[&str]] = &[
    &["a", "an", "one", "ein", "eine", "einem", "einer", "un", "une", "una", "один", "одну", "一", "واحد"],
    &["two", "zwei", "deux", "dos", "два", "две", "二", "两", "兩", "يومين", "اسبوعين", "شهرين", "سنتين", "عامين"],
    &["three", "drei", "trois", "tres", "три", "三", "ثلاثه", "ثلاث"],
    &["four", "vier", "quatre", "cuatro", "четыре", "四", "اربعه", "اربع"],
    &["five", "funf", "cinq", "cinco", "пять", "五", "خمسه", "خمس"],
    &["six", "sechs", "seis", "шесть", "六", "سته", "ست"],
    &["seven", "sieben", "sept", "siete", "семь", "七", "سبعه", "سبع"],
    &["eight", "acht", "huit", "ocho", "восемь", "八", "ثمانيه", "ثماني"],
    &["nine", "neun", "neuf", "nueve", "девять", "九", "تسعه", "تسع"],
    &["ten", "zehn", "dix", "diez", "десять", "十", "عشره", "عشر"],
];

/// Further numbers.
#[rustfmt::skip]
const LARGER_NUMBERS: &[(i64, &[&str])] = &[
    (FEW, &["few", "several", "paar", "einigen", "mehreren", "quelques", "unos", "unas", "varios", "несколько", "数", "几",
            "幾", "عده", "بضعه"]),
    (2, &["couple", "пару"]),
    (11, &["eleven", "elf", "onze", "одиннадцать"]), (12, &["twelve", "zwolf", "douze", "doce", "двенадцать"]),
    (14, &["fourteen", "vierzehn", "quatorze", "catorce", "четырнадцать"]),
    (15, &["fifteen", "funfzehn", "quinze", "quince", "пятнадцать"]),
    (20, &["twenty", "zwanzig", "vingt", "veinte", "двадцать"]),
    (30, &["thirty", "dreissig", "trente", "treinta", "тридцать"]),
];

/// Words before a number of units up to now: *the last three days*.
#[rustfmt::skip]
pub(crate) const UP_TO_NOW: &[&str] = &[
    "last", "past", "letzten", "vergangenen", "derniers", "dernieres", "ultimos", "ultimas", "последние", "последних",
];

/// The seasons in the forms that questions have, each with its first month.
#[rustfmt::skip]
pub(crate) const SEASONS: &[(i8, &[&str])] = &[
    (3, &["spring", "fruhling", "fruhjahr", "printemps", "primavera", "весна", "весну", "весной", "веснои", "الربيع"]),
    (6, &["summer", "sommer", "ete", "verano", "лето", "летом", "الصيف"]),
    (9, &["autumn", "fall", "herbst", "automne", "otono", "осень", "осенью", "الخريف"]),
    (12, &["winter", "hiver", "invierno", "зима", "зиму", "зимои", "الشتاء"]),
];

/// Words before a season or quarter that make it a time.
#[rustfmt::skip]
pub(crate) const BEFORE_SEASON: &[&str] = &[
    "last", "this", "past", "letzten", "letztes", "letzter", "diesen", "dieses", "vergangenen", "cet", "ce", "pasado",
    "este", "esta", "прошлым", "прошлои", "прошлое", "этим", "этои",
];

/// Those of them that mean the season that has begun last.
pub(crate) const THIS: &[&str] = &["this", "diesen", "dieses", "cet", "ce", "este", "esta", "этим", "этои"];

/// The seasons in the form that is a time by itself: *in summer*.
pub(crate) const SEASON_ADVERBS: &[&str] = &["летом", "осенью", "зимои", "веснои"];

/// Words before a season that is the last word of the cue.
pub(crate) const IN_SEASON: &[&str] = &["in", "im", "en", "el"];

/// The seasons in Japanese and Chinese, behind a year.
pub(crate) const SPACELESS_SEASONS: &[(char, i8)] = &[('春', 3), ('夏', 6), ('秋', 9), ('冬', 12)];

/// Words before a time from which on everything is meant.
pub(crate) const SINCE: &[&str] = &["since", "seit", "depuis", "desde"];

/// Words before a day of a month in digits, those by which the month comes first, and those by which the day does.
pub(crate) const MONTH_FIRST: &[&str] = &["on"];
pub(crate) const DAY_FIRST: &[&str] =
    &["am", "vom", "zum", "dem", "den", "seit", "at", "since", "le", "du", "el", "del", "desde", "depuis"];

/// The months in the forms that dates have beside those of [`DatePart`].
#[rustfmt::skip]
pub(crate) const MONTHS: &[&[&str]] = &[
    &["jan", "janner", "jaenner", "января", "يناير"], &["feb", "feber", "февраля", "فبراير"], &["mar", "марта", "مارس"], &["apr", "апреля", "ابريل"],
    &["мая", "مايو"], &["jun", "июня", "يونيو"], &["jul", "июля", "يوليو"], &["aug", "августа", "اغسطس"],
    &["sep", "sept", "setiembre", "сентября", "سبتمبر"], &["oct", "okt", "октября", "اكتوبر"],
    &["nov", "ноября", "نوفمبر"], &["dec", "dez", "dic", "декабря", "ديسمبر"],
];

/// The numbers of the months in Chinese and Japanese, the longer of two that end alike first.
#[rustfmt::skip]
pub(crate) const CHINESE_MONTHS: &[(&str, i8)] = &[
    ("十二", 12), ("十一", 11), ("十", 10), ("一", 1), ("二", 2), ("三", 3), ("四", 4), ("五", 5), ("六", 6), ("七", 7),
    ("八", 8), ("九", 9),
];

/// The weekdays, likewise.
#[rustfmt::skip]
pub(crate) const WEEKDAYS: &[&[&str]] = &[
    &["الاثنين", "月曜", "周一", "星期一", "週一"], &["الثلاثاء", "火曜", "周二", "星期二", "週二"],
    &["الاربعاء", "水曜", "周三", "星期三", "週三"], &["الخميس", "木曜", "周四", "星期四", "週四"],
    &["الجمعه", "金曜", "周五", "星期五", "週五"], &["السبت", "土曜", "周六", "星期六", "週六"],
    &["الاحد", "日曜", "周日", "星期日", "星期天", "週日"],
];

/// Words before the name of a month, a year or a weekday that make it a time.
#[rustfmt::skip]
pub(crate) const BEFORE_NAME: &[&str] = &[
    "in", "on", "last", "since", "during", "im", "am", "letzten", "letzter", "seit", "vorigen", "en", "au", "depuis",
    "el", "de", "le", "в", "во", "с", "прошлыи", "прошлую", "прошлое", "في", "يوم", "منذ", "mois", "jahr", "mes",
    "ano", "annee", "году", "شهر", "عام", "early", "late", "mid", "anfang", "mitte", "ende", "debut", "fin", "начале",
    "конце", "середине", "vergangenen", "pasado", "past",
];

/// Words after the name of a weekday or month that make it a time.
pub(crate) const AFTER_NAME: &[&str] = &["dernier", "derniere", "passe", "pasado", "pasada", "الماضي"];

/// Phrases that ask for what was said last.
#[rustfmt::skip]
pub(crate) const LATEST: &[&str] = &[
    "you last", "me last", "us last", "i last", "we last", "about last", "say last", "said last", "most recently",
    "recently", "last time", "last thing", "last things", "just now", "did i just", "i just said", "i just told", "you just said", "we just",
    "zuletzt", "letztes mal", "letzten mal", "als letztes", "gerade gesagt", "gerade eben", "eben gesagt", "vorhin",
    "neulich", "en dernier", "derniere fois", "derniere chose", "viens de", "recemment", "por ultimo", "ultima vez",
    "lo ultimo", "acabo de", "acabas de", "recientemente", "последнии раз", "сказал последним", "последним сказал", "последнее время", "только что",
    "недавно", "اخر مره", "اخر شيء", "مؤخرا",
];

pub(crate) const SPACELESS_LATEST: &[&str] = &[
    "最後に",
    "前回",
    "さっき",
    "先ほど",
    "上次",
    "刚才",
    "剛才",
    "刚刚",
    "剛剛",
    "最后说",
    "最後說",
    "最后一次",
    "最近",
];

/// Forms of these that have another meaning: the nearest, recent.
pub(crate) const NOT_LATEST: &[&str] = &["最近的", "最近の"];

/// Returns the number that a word is, in digits or letters.
pub(crate) fn number(word: &str) -> Option<i64> {
    let digits = word.parse().ok().filter(|number| (1..1000).contains(number));
    digits
        .or_else(|| NUMBERS.iter().position(|names| names.contains(&word)).map(|at| at as i64 + 1))
        .or_else(|| LARGER_NUMBERS.iter().find(|(_, names)| names.contains(&word)).map(|(number, _)| *number))
}

/// Returns the number that a text ends in, in digits or Chinese characters: *12*, *十二*, *二〇二五*.
pub(crate) fn last_number(text: &str) -> Option<i64> {
    let is_digit = |c: char| c.is_ascii_digit();
    let digits = &text[text.trim_end_matches(is_digit).len()..];
    if !digits.is_empty() {
        return digits.parse().ok();
    }
    let is_numeral = |c: char| c == '〇' || chinese_digit(c).is_some();
    let numerals = &text[text.trim_end_matches(is_numeral).len()..];
    if let Some((tens, ones)) = numerals.split_once('十') {
        let digit = |text: &str, none: i64| text.chars().next_back().map_or(Some(none), chinese_digit);
        return Some(digit(tens, 1)? * 10 + digit(ones, 0)?);
    }
    if numerals.chars().count() > 1 {
        return numerals.chars().try_fold(0_i64, |sum, c| {
            sum.checked_mul(10)?.checked_add(if c == '〇' { 0 } else { chinese_digit(c)? })
        });
    }
    let last = text.char_indices().next_back()?.0;
    number(&text[last..])
}

fn chinese_digit(c: char) -> Option<i64> {
    "一二三四五六七八九十".chars().position(|digit| digit == c).map(|at| at as i64 + 1)
}

/// Returns the day of a month: *22*, *22nd*, *1er*.
pub(crate) fn day_number(word: &str) -> Option<i8> {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let is_ordinal = matches!(&word[digits.len()..], "" | "st" | "nd" | "rd" | "th" | "er");
    digits.parse().ok().filter(|day| is_ordinal && (1..=31).contains(day))
}

pub(crate) fn year(word: &str) -> Option<i16> {
    match DatePart::named(word)? {
        DatePart::Year(year) => Some(year),
        _ => None,
    }
}

pub(crate) fn month(word: &str) -> Option<i8> {
    match DatePart::named(word) {
        Some(DatePart::Month(month)) => Some(month),
        _ => MONTHS.iter().position(|names| names.contains(&word)).map(|at| at as i8 + 1),
    }
}

pub(crate) fn weekday(word: &str) -> Option<i8> {
    match DatePart::named(word) {
        Some(DatePart::Weekday(weekday)) => Some(weekday),
        _ => WEEKDAYS.iter().position(|names| names[0] == word).map(|at| at as i8 + 1),
    }
}
