//! Words too common to be searched for.
//!
//! Pure. A list of this kind errs: *Ella*, *Don* and *Will* are names, too. So recall asks the store about a stop word
//! that stands alone in its language or is capitalized (`recall/postings.rs`).

/// Returns true if the folded `word` is a stop word.
pub(crate) fn is_stop_word(word: &str) -> bool {
    languages(word) != 0
}

/// Returns the languages in which the folded `word` is a stop word, as bits; 0 if it is none.
pub(crate) fn languages(word: &str) -> u16 {
    STOP_WORDS.binary_search_by_key(&word, |(word, _)| word).map_or(0, |at| STOP_WORDS[at].1)
}

/// The bits of languages.
pub(crate) const GERMAN: u16 = 1 << 1;
pub(crate) const FRENCH: u16 = 1 << 2;

/// The bit of the pairs of characters that questions in Chinese and Japanese are built with.
pub(crate) const PAIRS: u16 = 1 << 8;

/// The stop words, folded and sorted, each with its languages: bit 0 is English, then German, French, Spanish, Italian,
/// Portuguese, Russian, Arabic, and [`PAIRS`]. A stop word that is a content word in another of these languages is left
/// out (German *war*, French *car*, Spanish *son*).
#[rustfmt::skip]
pub(crate) const STOP_WORDS: &[(&str, u16)] = &[
    ("a", 61), ("aber", 2), ("about", 1), ("above", 1), ("after", 1), ("again", 1), ("al", 24), ("all", 1),
    ("alla", 16), ("als", 2), ("also", 3), ("am", 3), ("an", 3), ("anche", 16), ("and", 1), ("any", 1), ("ao", 32),
    ("aos", 32), ("are", 1), ("aren", 1), ("as", 33), ("at", 1), ("au", 4), ("auch", 2), ("auf", 2), ("aus", 2),
    ("aux", 4), ("avait", 4), ("avec", 4), ("avez", 4), ("avons", 4), ("be", 1), ("because", 1), ("been", 1),
    ("before", 1), ("bei", 2), ("being", 1), ("below", 1), ("between", 1), ("bis", 2), ("both", 1), ("but", 1),
    ("by", 1), ("can", 1), ("ce", 4), ("ces", 4), ("cette", 4), ("che", 16), ("chi", 16), ("ci", 16), ("com", 48),
    ("como", 40), ("con", 24), ("could", 1), ("couldn", 1), ("cual", 8), ("cuando", 8), ("da", 50), ("dal", 16),
    ("dalla", 16), ("dans", 4), ("das", 34), ("dass", 2), ("de", 44), ("degli", 16), ("dei", 16), ("del", 24),
    ("della", 16), ("delle", 16), ("dem", 2), ("den", 2), ("der", 2), ("des", 6), ("di", 16), ("dich", 2), ("did", 1),
    ("didn", 1), ("dir", 2), ("do", 33), ("does", 1), ("doesn", 1), ("doing", 1), ("don", 1), ("donde", 8),
    ("dos", 40), ("dove", 16), ("du", 6), ("during", 1), ("each", 1), ("ein", 2), ("eine", 2), ("einem", 2),
    ("einen", 2), ("einer", 2), ("eines", 2), ("el", 8), ("ela", 32), ("elas", 32), ("ele", 32), ("eles", 32),
    ("ella", 8), ("ellas", 8), ("elle", 4), ("elles", 4), ("ellos", 8), ("em", 32), ("en", 12), ("er", 2),
    ("era", 56), ("es", 10), ("est", 4), ("esta", 40), ("estaba", 8), ("estan", 8), ("este", 40), ("esto", 8),
    ("et", 4), ("etait", 4), ("ete", 4), ("eu", 36), ("euch", 2), ("euer", 2), ("ever", 1), ("few", 1), ("foi", 32),
    ("for", 1), ("from", 1), ("fue", 8), ("fur", 2), ("further", 1), ("gegen", 2), ("gli", 16), ("ha", 56),
    ("habe", 2), ("haben", 2), ("had", 1), ("hadn", 1), ("has", 1), ("hasn", 1), ("hatte", 2), ("have", 1),
    ("haven", 1), ("having", 1), ("hay", 8), ("he", 1), ("her", 1), ("here", 1), ("hers", 1), ("herself", 1),
    ("him", 1), ("himself", 1), ("his", 1), ("ho", 16), ("how", 1), ("i", 17), ("ich", 2), ("if", 1), ("ihm", 2),
    ("ihn", 2), ("ihr", 2), ("ihre", 2), ("il", 20), ("ils", 4), ("im", 2), ("in", 19), ("into", 1), ("io", 16),
    ("is", 1), ("isn", 1), ("isso", 32), ("ist", 2), ("it", 1), ("its", 1), ("itself", 1), ("je", 4), ("just", 1),
    ("kann", 2), ("know", 1), ("la", 60), ("las", 8), ("le", 28), ("les", 12), ("leur", 4), ("leurs", 4), ("lo", 24),
    ("loro", 16), ("los", 8), ("lui", 20), ("ma", 20), ("mais", 36), ("mas", 40), ("me", 61), ("mein", 2),
    ("meine", 2), ("mes", 4), ("meu", 32), ("mi", 24), ("mich", 2), ("minha", 32), ("mir", 2), ("mis", 8), ("mit", 2),
    ("moi", 4), ("mon", 4), ("more", 1), ("most", 1), ("muy", 8), ("my", 1), ("myself", 1), ("na", 32), ("nach", 2),
    ("nao", 32), ("nas", 32), ("ne", 4), ("nel", 16), ("nella", 16), ("nem", 32), ("nicht", 2), ("no", 41),
    ("noch", 2), ("non", 16), ("nor", 1), ("nos", 44), ("not", 1), ("notre", 4), ("nous", 4), ("now", 1), ("nur", 2),
    ("o", 56), ("oder", 2), ("of", 1), ("off", 1), ("ohne", 2), ("on", 5), ("once", 1), ("onde", 32), ("only", 1),
    ("ont", 4), ("or", 1), ("os", 40), ("other", 1), ("ou", 36), ("our", 1), ("ours", 1), ("ourselves", 1),
    ("out", 1), ("over", 1), ("own", 1), ("par", 4), ("para", 40), ("pas", 4), ("pela", 32), ("pelo", 32),
    ("perche", 16), ("pero", 8), ("piu", 16), ("please", 1), ("por", 40), ("porque", 40), ("pour", 4), ("quale", 16),
    ("quali", 16), ("quand", 4), ("quando", 48), ("que", 44), ("quel", 4), ("quelle", 4), ("quelles", 4),
    ("quels", 4), ("quem", 32), ("questo", 16), ("qui", 4), ("quien", 8), ("quoi", 4), ("sa", 4), ("same", 1),
    ("sao", 32), ("schon", 2), ("se", 60), ("sehr", 2), ("seine", 2), ("ses", 4), ("seu", 32), ("shan", 1),
    ("she", 1), ("should", 1), ("shouldn", 1), ("si", 56), ("sich", 2), ("sie", 2), ("sin", 8), ("sind", 2),
    ("so", 3), ("sobre", 40), ("some", 1), ("sono", 16), ("sont", 4), ("su", 24), ("sua", 48), ("such", 1),
    ("suis", 4), ("sul", 16), ("sulla", 16), ("sur", 4), ("sus", 8), ("ta", 4), ("tambien", 8), ("te", 44),
    ("tell", 1), ("tem", 32), ("tes", 4), ("than", 1), ("that", 1), ("the", 1), ("their", 1), ("theirs", 1),
    ("them", 1), ("themselves", 1), ("then", 1), ("there", 1), ("these", 1), ("they", 1), ("this", 1), ("those", 1),
    ("through", 1), ("tiene", 8), ("to", 1), ("toi", 4), ("too", 1), ("tra", 16), ("tu", 28), ("uber", 2), ("um", 34),
    ("uma", 32), ("un", 28), ("una", 24), ("unas", 8), ("und", 2), ("under", 1), ("une", 4), ("uno", 24), ("unos", 8),
    ("uns", 2), ("unser", 2), ("unter", 2), ("until", 1), ("up", 1), ("very", 1), ("voce", 32), ("vom", 2),
    ("von", 2), ("vor", 2), ("vos", 4), ("votre", 4), ("vous", 4), ("wann", 2), ("warum", 2), ("was", 3), ("wasn", 1),
    ("we", 1), ("welche", 2), ("welcher", 2), ("welches", 2), ("wenn", 2), ("wer", 2), ("were", 1), ("weren", 1),
    ("what", 1), ("when", 1), ("where", 1), ("which", 1), ("while", 1), ("who", 1), ("whom", 1), ("whose", 1),
    ("why", 1), ("wie", 2), ("will", 3), ("wir", 2), ("wird", 2), ("with", 1), ("wo", 2), ("won", 1), ("would", 1),
    ("wouldn", 1), ("wurde", 2), ("y", 12), ("ya", 8), ("yo", 8), ("you", 1), ("your", 1), ("yours", 1),
    ("yourself", 1), ("yourselves", 1), ("zu", 2), ("zum", 2), ("zur", 2), ("zwischen", 2), ("а", 64), ("без", 64),
    ("бы", 64), ("был", 64), ("была", 64), ("были", 64), ("было", 64), ("быть", 64), ("в", 64), ("вам", 64),
    ("вас", 64), ("весь", 64), ("во", 64), ("вот", 64), ("все", 64), ("всего", 64), ("всех", 64), ("вы", 64),
    ("где", 64), ("да", 64), ("для", 64), ("до", 64), ("его", 64), ("ее", 64), ("если", 64), ("есть", 64),
    ("еще", 64), ("же", 64), ("за", 64), ("и", 64), ("из", 64), ("или", 64), ("им", 64), ("их", 64), ("к", 64),
    ("как", 64), ("какая", 64), ("какие", 64), ("какои", 64), ("когда", 64), ("кто", 64), ("ли", 64), ("меня", 64),
    ("мне", 64), ("мои", 64), ("моя", 64), ("мы", 64), ("на", 64), ("над", 64), ("не", 64), ("него", 64), ("нее", 64),
    ("нет", 64), ("ни", 64), ("них", 64), ("но", 64), ("о", 64), ("об", 64), ("он", 64), ("она", 64), ("они", 64),
    ("оно", 64), ("от", 64), ("по", 64), ("под", 64), ("при", 64), ("с", 64), ("со", 64), ("так", 64), ("также", 64),
    ("там", 64), ("то", 64), ("тоже", 64), ("тот", 64), ("ты", 64), ("у", 64), ("уже", 64), ("чего", 64), ("чем", 64),
    ("что", 64), ("чтобы", 64), ("эта", 64), ("эти", 64), ("это", 64), ("этот", 64), ("я", 64), ("التي", 128),
    ("الذي", 128), ("الي", 128), ("انا", 128), ("انت", 128), ("او", 128), ("اين", 128), ("بعد", 128), ("ثم", 128),
    ("ذلك", 128), ("علي", 128), ("عن", 128), ("في", 128), ("قبل", 128), ("قد", 128), ("كان", 128), ("كانت", 128),
    ("كل", 128), ("كيف", 128), ("لا", 128), ("لم", 128), ("لن", 128), ("ما", 128), ("ماذا", 128), ("متي", 128),
    ("مع", 128), ("من", 128), ("هذا", 128), ("هذه", 128), ("هل", 128), ("هم", 128), ("هو", 128), ("هي", 128),
    ("و", 128), ("いつ", 256), ("から", 256), ("こと", 256), ("した", 256), ("すか", 256), ("だれ", 256), ("でし", 256),
    ("です", 256), ("どう", 256), ("どこ", 256), ("なぜ", 256), ("なに", 256), ("のか", 256), ("ので", 256), ("まし", 256),
    ("ます", 256), ("ませ", 256), ("为什", 256), ("么时", 256), ("了么", 256), ("了吗", 256), ("什么", 256), ("什麼", 256),
    ("哪裡", 256), ("哪里", 256), ("怎么", 256), ("怎麼", 256), ("时候", 256), ("是什", 256), ("的是", 256),
];
