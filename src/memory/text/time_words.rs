//! Words of times: the phrases, units, numbers, months and weekdays that `time_phrase.rs` reads, folded.
//!
//! Pure. A list of words is one string with a space around each word, a list of phrases one with `|` around each: a string
//! for each word would take several times the space.

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

/// The longest word of a list, in bytes.
const WORD_BYTES: usize = 40;

/// Names of the weekend that are several words, as they stand in a line of words.
pub(crate) const WEEKENDS: &[&str] =
    &[" week end ", " fin de semana ", " fine settimana ", " fim de semana ", " عطله نهايه الاسبوع "];

/// Phrases of whole words, each list with a unit and how many of it from now; a phrase that contains another comes first.
#[rustfmt::skip]
pub(crate) const PHRASES: &[(Unit, i64, &str)] = &[
    (Day, -2, "|day before yesterday|vorgestern|avant hier|anteayer|antes de ayer|antier|anteanoche|altro ieri|avantieri|\
        anteontem|antes de ontem|eergisteren|позавчера|اول امس|"),
    (Week, -2, "|week before last|vorletzte woche|vorletzter woche|vorletzten woche|semaine avant derniere|\
        avant derniere semaine|semana antepasada|penultima semana|penultima settimana|semana retrasada|voorvorige week|\
        позапрошлои неделе|позапрошлую неделю|الاسبوع قبل الماضي|"),
    (Month, -2, "|month before last|vorletzten monat|vorletzter monat|avant dernier mois|mes antepasado|mes retrasado|\
        voorvorige maand|позапрошлом месяце|"),
    (Year, -2, "|year before last|vorletztes jahr|vorletzten jahr|avant derniere annee|ano antepasado|ano retrasado|\
        voorvorig jaar|позапрошлом году|"),
    (Day, -1, "|yesterday|last night|gestern|hier|depuis hier|hier soir|hier matin|ayer|anoche|letzte nacht|nuit derniere|\
        ieri|scorsa notte|ontem|noite passada|gisteren|gister|gisteravond|gisterochtend|gistermiddag|gisternacht|вчера|امس|\
        البارحه|"),
    (Day, 0, "|today|tonight|this morning|this afternoon|this evening|heute|aujourd hui|ce matin|ce soir|cet apres midi|\
        cette nuit|hoy|esta manana|esta tarde|esta noche|oggi|stamattina|stamani|stasera|stanotte|questa mattina|\
        questo pomeriggio|questa sera|hoje|esta manha|esta noite|vandaag|vanmorgen|vanochtend|vanmiddag|vanavond|\
        vannacht|сегодня|اليوم|هذا الصباح|هذا المساء|"),
    (Weekend, 0, "|at the weekend|on the weekend|over the weekend|am wochenende|ubers wochenende|le weekend|el weekend|\
        nel weekend|il weekend|no weekend|in het weekend|на выходных|в выходные|"),
];

/// Adjectives before a unit, season or weekday that mean the last one, those behind it, and those that mean this one.
#[rustfmt::skip]
pub(crate) const LAST_BEFORE: &str = " last past previous letzte letzten letzter letztes vorige vorigen voriger voriges \
    vergangene vergangenen vergangener vergangenes dernier derniere ultimo ultima pasado pasada scorso scorsa passato passata \
    vorig afgelopen laatste прошлыи прошлои прошлую прошлом прошлое прошлого прошлые прошлых прошлым ";
pub(crate) const LAST_BEHIND: &str =
    " dernier derniere passe passee pasado pasada scorso scorsa passato passata passado passada الماضي الماضيه ";
#[rustfmt::skip]
pub(crate) const THIS: &str = " this diese dieser diesen diesem dieses ce cet cette este esta questo questa quest neste \
    nesta deze dit этои этом этот эту этим эти هذا هذه ";

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

/// Names of months that are other words, too, each with the words before it that make it a month: French *en mars*, not
/// *life on Mars*; English *in Mar*, not Spanish *el mar*; *in May*, not *do May and Rose*.
pub(crate) const AMBIGUOUS_MONTHS: &[(&str, &str)] = &[
    ("mars", " en au depuis de le mois debut fin mi "),
    ("mar", " in on last since during "),
    ("sept", " in on last since during "),
    ("may", " in last since during early late mid by past "),
    ("marco", " em de desde mes "),
];

/// Weekdays that are other words, too: the short English ones are days behind these words, the Portuguese ones before
/// *feira* or at the end.
pub(crate) const SHORT_WEEKDAYS: &str = " mon tue tues wed thu thur thurs fri sat sun ";
pub(crate) const BEFORE_SHORT: &str = " on last since this ";
pub(crate) const ORDINAL_WEEKDAYS: &str = " segunda terca quarta quinta sexta ";

/// Phrases in Japanese, Chinese and Korean, which have no spaces between words, or particles behind them.
#[rustfmt::skip]
pub(crate) const SPACELESS: &[(Unit, i64, &str)] = &[
    (Day, -3, "|大前天|"),
    (Day, -2, "|一昨日|おととい|前天|그저께|그제|"),
    (Day, -1, "|昨日|きのう|昨夜|昨晩|昨天|昨晚|어제|"),
    (Day, 0, "|今日|今朝|今晩|今夜|今天|今早|今晚|오늘|"),
    (Weekend, -1, "|先週末|上周末|上週末|"),
    (Week, -2, "|先々週|先先週|上上周|上上週|上上星期|上上个星期|지지난주|"),
    (Month, -2, "|先々月|先先月|上上个月|上上個月|上上月|"),
    (Weekend, 0, "|週末|周末|주말|"),
    (Week, -1, "|先週|上周|上週|上星期|上个星期|上個星期|上礼拜|지난주|지난 주|"),
    (Week, 0, "|今週|这周|本周|這週|这个星期|这星期|이번 주|이번주|"),
    (Month, -1, "|先月|上个月|上個月|上月|지난달|지난 달|"),
    (Quarter, -1, "|前四半期|上季度|上个季度|"),
    (Quarter, 0, "|今四半期|本季度|"),
    (Month, 0, "|今月|这个月|這個月|本月|이번 달|이번달|"),
    (Year, -2, "|一昨年|재작년|"),
    (Year, -1, "|去年|昨年|작년|지난해|"),
    (Year, 0, "|今年|올해|"),
];

/// Units, each with its names for one and for several.
#[rustfmt::skip]
pub(crate) const UNITS: &[(Unit, &str, &str)] = &[
    (Minute, " minute minuto minuut минуту دقيقه ", " minutes minuten minutos minuti минуты минут دقائق "),
    (Hour, " hour stunde heure hora ora uur час ساعه ", " hours stunden heures horas ore uren часа часов ساعات "),
    (Day, " day tag jour dia giorno dag день يوم ", " days tage tagen jours dias giorni dagen дня днеи дни ايام يومين "),
    (Week, " week woche semaine semana settimana неделю неделе недели اسبوع الاسبوع ",
        " weeks wochen semaines semanas settimane weken недель недели اسابيع اسبوعين "),
    (Weekend, " weekend wochenende weekeinde выходные выходных ", " weekends wochenenden "),
    (Month, " month monat monats mois mes mese maand месяц месяце месяца شهر الشهر ",
        " months monate monaten mois meses mesi maanden месяца месяцы месяцев اشهر شهرين "),
    (Quarter, " quarter quartal quartals trimestre kwartaal квартал квартале الربع ", " quarters quartale trimestres "),
    (Year, " year jahr jahres an annee ano anno jaar год году года سنه السنه عام العام ",
        " years jahre jahren ans annees anos anni jaren года годы лет سنوات سنتين عامين "),
];

pub(crate) const SPACELESS_UNITS: &[(Unit, &str)] = &[
    (Minute, "|分前|分钟前|分鐘前|분 전|"),
    (Hour, "|時間前|小时前|小時前|시간 전|"),
    (Day, "|日前|天前|日 전|"),
    (Week, "|週間前|周前|週前|星期前|个星期前|個星期前|주 전|"),
    (Month, "|か月前|ヶ月前|カ月前|ヵ月前|个月前|個月前|개월 전|"),
    (Year, "|年前|年 전|"),
];

/// Words before a number of units up to now, *the last three days*, and those that do without a number.
#[rustfmt::skip]
pub(crate) const UP_TO_NOW: &str = " last past letzten vergangenen derniers dernieres ultimos ultimas ultimi ultime afgelopen \
    laatste последние последних ";
#[rustfmt::skip]
pub(crate) const UP_TO_NOW_SOME: &str = " letzten vergangenen derniers dernieres ultimos ultimas ultimi ultime afgelopen \
    laatste последние последних ";

/// The seasons in the forms that questions have, each with its first month.
#[rustfmt::skip]
pub(crate) const SEASONS: &[(i8, &str)] = &[
    (3, " spring fruhling fruhjahr printemps primavera lente voorjaar весна весну весной веснои الربيع "),
    (6, " summer sommer ete verano estate verao zomer лето летом الصيف "),
    (9, " autumn fall herbst automne otono autunno outono herfst najaar осень осенью الخريف "),
    (12, " winter hiver invierno inverno зима зиму зимои الشتاء "),
];

/// The seasons in the form that is a time by itself: *in summer*.
pub(crate) const SEASON_ADVERBS: &str = " летом осенью зимои веснои ";

/// Words before a season that is the last word of the cue.
pub(crate) const IN_SEASON: &str = " in im en el au nel nell no na ";

/// The seasons in Japanese and Chinese, behind a year.
pub(crate) const SPACELESS_SEASONS: &[(char, i8)] = &[('春', 3), ('夏', 6), ('秋', 9), ('冬', 12)];

/// Words before a time from which on everything is meant, and those that mean it before the name of a day or month only.
pub(crate) const SINCE: &str = " since seit depuis desde sinds vanaf ";
pub(crate) const SINCE_NAME: &str = " с dal dalla ";

/// Words before a day of a month in digits, those by which the month comes first, and those by which the day does.
pub(crate) const MONTH_FIRST: &str = " on ";
pub(crate) const DAY_FIRST: &str =
    " am vom zum dem den seit at since le du el del desde depuis il dal em dia op sinds ";

/// Words before a number at the end of the cue that is a day of the month: *am 22.*, *el día 22*.
pub(crate) const BEFORE_DAY: &str = " am vom le dia ";

/// The months in the forms that dates have beside those of [`DatePart`].
#[rustfmt::skip]
const MONTHS: &[&str] = &[
    " jan janner jaenner gennaio janeiro januari января январь يناير ", " feb feber febbraio fevereiro februari февраля февраль فبراير ",
    " mar marco maart марта март مارس ", " apr aprile апреля апрель ابريل ", " maggio maio mei мая маи مايو ",
    " jun giugno junho июня июнь يونيو ", " jul luglio julho июля июль يوليو ", " aug augustus августа август اغسطس ",
    " sep sept setiembre settembre setembro сентября сентябрь سبتمبر ", " oct okt ottobre outubro октября октябрь اكتوبر ",
    " nov novembro ноября ноябрь نوفمبر ", " dec dez dic dicembre dezembro декабря декабрь ديسمبر ",
];

/// The weekdays, likewise.
#[rustfmt::skip]
const WEEKDAYS: &[&str] = &[
    " mon lunedi segunda maandag понедельника понедельником الاثنين ",
    " tue tues martedi terca dinsdag вторника вторником الثلاثاء ",
    " wed mercoledi quarta woensdag среда среды средои الاربعاء ",
    " thu thur thurs giovedi quinta donderdag четверга четвергом الخميس ",
    " fri venerdi sexta vrijdag пятница пятницы пятницеи الجمعه ",
    " sat sonnabend sabato zaterdag суббота субботы субботои السبت ",
    " sun domenica zondag воскресенья воскресеньем الاحد ",
];

/// The weekdays in Japanese, Chinese and Korean.
pub(crate) const SPACELESS_WEEKDAYS: &[&str] = &[
    "|月曜|周一|星期一|週一|월요일|",
    "|火曜|周二|星期二|週二|화요일|",
    "|水曜|周三|星期三|週三|수요일|",
    "|木曜|周四|星期四|週四|목요일|",
    "|金曜|周五|星期五|週五|금요일|",
    "|土曜|周六|星期六|週六|토요일|",
    "|日曜|周日|星期日|星期天|週日|일요일|",
];

/// Parts of a day, which German and Dutch write in one word with the weekday.
#[rustfmt::skip]
pub(crate) const PARTS_OF_DAY: &str = " morning afternoon evening night morgen vormittag nachmittag mittag abend nacht fruh \
    matin soir midi nuit mattina pomeriggio sera notte manha tarde noite manana noche ochtend middag avond утром днем вечером \
    ночью صباحا مساء ";

/// Words before the name of a month, a year or a weekday that make it a time.
#[rustfmt::skip]
pub(crate) const BEFORE_NAME: &str = " in on last since during im am letzten letzter seit vorigen en au depuis el de le в во \
    с прошлыи прошлую прошлое في يوم منذ mois jahr mes ano annee году شهر عام early late mid anfang mitte ende debut fin начале \
    конце середине vergangenen pasado past nel em desde op vorige afgelopen sinds vanaf begin eind fine inizio ";

/// Words that do so before Italian and Portuguese names.
pub(crate) const BEFORE_ROMANCE_NAME: &str = " a ad di da dal dalla do no na il lo este esta ultima ultimo ";

/// Words before *of* and the name of a month: *the end of May*.
pub(crate) const BEFORE_OF: &str = " end beginning start middle month rest ";

/// Words around a weekday by which it is no certain day of the past, or no day.
#[rustfmt::skip]
pub(crate) const BEFORE_NO_DAY: &str = " every each next jeden jede jeder kommenden nachsten chaque tous prochain cada todos \
    proximo proxima ogni prossimo toda todo elke iedere volgende каждыи каждую did does do is was were has had have and or of \
    with about to for named by who black good ruby palm bloody easter ash shrove cyber casual holy happy super the a ";
pub(crate) const BEHIND_NO_DAY: &str = " prochain prossimo proximo proxima que werden sono est ist es is ";

/// Words behind a weekday within a question in English, where it is one without a preposition.
pub(crate) const BEHIND_DAY: &str = " about in at on for with regarding and or before after during when from ";

/// Words that begin a question.
#[rustfmt::skip]
pub(crate) const ASKING: &str = " what who when where which how why did whom whose was wer wo wann wie worum woruber que qui \
    quoi quand qu comment cosa che chi quando dove come wat hoe waar o quem onde quien cual donde что кто когда где ";

/// Words that begin a range of times, those between its ends, and those of them that need no beginning.
#[rustfmt::skip]
pub(crate) const FROM: &str = " between from zwischen von vom entre du de del dal dalla da desde tra fra tussen van между с \
    со от بين من ";
#[rustfmt::skip]
pub(crate) const TO: &str = " and to und bis et au a al alla y e ed en tot ao ate hasta through thru until till и по до الي و \
    jusqu ";
pub(crate) const UNTIL: &str = " bis tot through thru until till hasta ate ";

/// Words within an end of a range that say nothing.
#[rustfmt::skip]
pub(crate) const ARTICLES: &str = " the of der dem den zum am le la el il lo los las o os a as de del di da do dia giorno jour \
    au al on in im em na no het en met feira last letzten dernier pasado scorso passada ano jahr year i ";

/// Phrases that ask for what was said last.
#[rustfmt::skip]
pub(crate) const LATEST: &str = "|you last|me last|us last|i last|we last|about last|say last|said last|most recently|recently|\
    lately|last time|last thing|last things|the other day|just now|did i just|i just said|i just told|you just said|we just|\
    zuletzt|letztes mal|letzten mal|als letztes|gerade gesagt|gerade eben|eben gesagt|vorhin|neulich|in letzter zeit|en dernier|\
    derniere fois|derniere chose|viens de|recemment|autre jour|por ultimo|ultima vez|ultima volta|lo ultimo|otro dia|acabo de|\
    acabas de|recientemente|recentemente|ultima cosa|poco fa|outro dia|agora mesmo|het laatst|als laatste|laatste keer|onlangs|\
    zojuist|daarnet|последнии раз|сказал последним|последним сказал|последнее время|только что|недавно|اخر مره|اخر شيء|مؤخرا|";

pub(crate) const SPACELESS_LATEST: &str =
    "|最後に|前回|さっき|先ほど|上次|刚才|剛才|刚刚|剛剛|最后说|最後說|最后一次|最近|방금|마지막으로|";

/// Forms of these that have another meaning: the nearest, recent.
pub(crate) const NOT_LATEST: &str = "|最近的|最近の|";

/// Returns true if a list of words has this one.
pub(crate) fn has(list: &str, word: &str) -> bool {
    let mut spaced = [b' '; WORD_BYTES + 2];
    let Some(place) = spaced.get_mut(1..=word.len()).filter(|_| (1..=WORD_BYTES).contains(&word.len())) else {
        return false;
    };
    place.copy_from_slice(word.as_bytes());
    str::from_utf8(&spaced[..word.len() + 2]).is_ok_and(|word| list.contains(word))
}

/// Returns the phrases of a list.
pub(crate) fn phrases(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.split('|').filter(|phrase| !phrase.is_empty())
}

/// Returns the number of the list that has the word; the first is 1.
pub(super) fn place(lists: &[&str], word: &str) -> Option<i8> {
    lists.iter().position(|list| has(list, word)).map(|at| at as i8 + 1)
}

/// Returns the unit of this name.
pub(crate) fn unit(word: &str) -> Option<Unit> {
    UNITS.iter().find(|(_, one, several)| has(one, word) || has(several, word)).map(|(unit, ..)| *unit)
}

/// Returns the first month of the season of this name.
pub(crate) fn season(word: &str) -> Option<i8> {
    SEASONS.iter().find(|(_, names)| has(names, word)).map(|(month, _)| *month)
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
        _ => place(MONTHS, word),
    }
}

/// Returns the number of a weekday, also of one in one word with a part of the day: *Freitagabend*.
pub(crate) fn weekday(word: &str) -> Option<i8> {
    match DatePart::named(word) {
        Some(DatePart::Weekday(weekday)) => Some(weekday),
        _ => place(WEEKDAYS, word),
    }
}

/// Returns the weekday in a word that has it and a part of the day: *Freitagabend*, *vrijdagavond*.
pub(crate) fn compound_weekday(word: &str) -> Option<i8> {
    let end = word.find("tag").or_else(|| word.find("dag"))? + 3;
    has(PARTS_OF_DAY, word.get(end..)?).then(|| weekday(&word[..end])).flatten()
}
