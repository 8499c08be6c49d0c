//! Words too common to be searched for.
//!
//! Pure.

/// Returns true if the folded `word` is a stop word.
pub(crate) fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

/// The stop words, folded and sorted: English, German, French, Spanish, Italian, Portuguese, Russian and Arabic words,
/// and the Chinese and Japanese character pairs that questions are built with. A stop word that is a content word in
/// another of these languages is left out (German *war*, French *car*, Spanish *son*).
#[rustfmt::skip]
pub(crate) const STOP_WORDS: &[&str] = &[
    "a", "aber", "about", "above", "after", "again", "al", "all", "alla", "als", "also", "am", "an", "anche", "and",
    "any", "ao", "aos", "are", "aren", "as", "at", "au", "auch", "auf", "aus", "aux", "avait", "avec", "avez",
    "avons", "be", "because", "been", "before", "bei", "being", "below", "between", "bis", "both", "but", "by",
    "can", "ce", "ces", "cette", "che", "chi", "ci", "com", "como", "con", "could", "couldn", "cual", "cuando",
    "da", "dal", "dalla", "dans", "das", "dass", "de", "degli", "dei", "del", "della", "delle", "dem", "den", "der",
    "des", "di", "dich", "did", "didn", "dir", "do", "does", "doesn", "doing", "don", "donde", "dos", "dove", "du",
    "during", "each", "ein", "eine", "einem", "einen", "einer", "eines", "el", "ela", "elas", "ele", "eles", "ella",
    "ellas", "elle", "elles", "ellos", "em", "en", "er", "era", "es", "est", "esta", "estaba", "estan", "este",
    "esto", "et", "etait", "ete", "eu", "euch", "euer", "ever", "few", "foi", "for", "from", "fue", "fur",
    "further", "gegen", "gli", "ha", "habe", "haben", "had", "hadn", "has", "hasn", "hatte", "have", "haven",
    "having", "hay", "he", "her", "here", "hers", "herself", "him", "himself", "his", "ho", "how", "i", "ich", "if",
    "ihm", "ihn", "ihr", "ihre", "il", "ils", "im", "in", "into", "io", "is", "isn", "isso", "ist", "it", "its",
    "itself", "je", "just", "kann", "know", "la", "las", "le", "les", "leur", "leurs", "lo", "loro", "los", "lui",
    "ma", "mais", "mas", "me", "mein", "meine", "mes", "meu", "mi", "mich", "minha", "mir", "mis", "mit", "moi",
    "mon", "more", "most", "muy", "my", "myself", "na", "nach", "nao", "nas", "ne", "nel", "nella", "nem", "nicht",
    "no", "noch", "non", "nor", "nos", "not", "notre", "nous", "now", "nur", "o", "oder", "of", "off", "ohne", "on",
    "once", "onde", "only", "ont", "or", "os", "other", "ou", "our", "ours", "ourselves", "out", "over", "own",
    "par", "para", "pas", "pela", "pelo", "perche", "pero", "piu", "please", "por", "porque", "pour", "quale",
    "quali", "quand", "quando", "que", "quel", "quelle", "quelles", "quels", "quem", "questo", "qui", "quien",
    "quoi", "sa", "same", "sao", "schon", "se", "sehr", "seine", "ses", "seu", "shan", "she", "should", "shouldn",
    "si", "sich", "sie", "sin", "sind", "so", "sobre", "some", "sono", "sont", "su", "sua", "such", "suis", "sul",
    "sulla", "sur", "sus", "ta", "tambien", "te", "tell", "tem", "tes", "than", "that", "the", "their", "theirs",
    "them", "themselves", "then", "there", "these", "they", "this", "those", "through", "tiene", "to", "toi", "too",
    "tra", "tu", "uber", "um", "uma", "un", "una", "unas", "und", "under", "une", "uno", "unos", "uns", "unser",
    "unter", "until", "up", "very", "voce", "vom", "von", "vor", "vos", "votre", "vous", "wann", "warum", "was",
    "wasn", "we", "welche", "welcher", "welches", "wenn", "wer", "were", "weren", "what", "when", "where", "which",
    "while", "who", "whom", "whose", "why", "wie", "will", "wir", "wird", "with", "wo", "won", "would", "wouldn",
    "wurde", "y", "ya", "yo", "you", "your", "yours", "yourself", "yourselves", "zu", "zum", "zur", "zwischen", "а",
    "без", "бы", "был", "была", "были", "было", "быть", "в", "вам", "вас", "весь", "во", "вот", "все", "всего",
    "всех", "вы", "где", "да", "для", "до", "его", "ее", "если", "есть", "еще", "же", "за", "и", "из", "или", "им",
    "их", "к", "как", "какая", "какие", "какои", "когда", "кто", "ли", "меня", "мне", "мои", "моя", "мы", "на",
    "над", "не", "него", "нее", "нет", "ни", "них", "но", "о", "об", "он", "она", "они", "оно", "от", "по", "под",
    "при", "с", "со", "так", "также", "там", "то", "тоже", "тот", "ты", "у", "уже", "чего", "чем", "что", "чтобы",
    "эта", "эти", "это", "этот", "я", "التي", "الذي", "الي", "انا", "انت", "او", "اين", "بعد", "ثم", "ذلك", "علي",
    "عن", "في", "قبل", "قد", "كان", "كانت", "كل", "كيف", "لا", "لم", "لن", "ما", "ماذا", "متي", "مع", "من", "هذا",
    "هذه", "هل", "هم", "هو", "هي", "و", "いつ", "から", "こと", "した", "すか", "だれ", "でし", "です", "どう", "どこ", "なぜ", "なに",
    "のか", "ので", "まし", "ます", "ませ", "为什", "么时", "了么", "了吗", "什么", "什麼", "哪裡", "哪里", "怎么", "怎麼", "时候", "是什", "的是",
];
