//! The key `masked` of a row and of a line of deferred captures; masks the lines of other programs, which lack it.

use crate::dispatch::{CallError, Params};
use crate::memory::model::record::{TEXT_BYTES, fingerprint};
use crate::memory::store::masked::MaskedFrom;
use crate::memory::store::new_record::Draft;
use crate::secrets;

/// Most kinds of a row. Picked: more secrets than a text of 64 KiB has.
const MAX_KINDS: usize = 4096;

/// Reads the key `masked`; `None` if the row has none. Kinds of other releases are counted as `other`.
///
/// # Errors
/// -32602 if a field has a wrong type or is too long; the message names it.
pub(crate) fn parse(row: &Params<'_>) -> Result<Option<MaskedFrom>, CallError> {
    let Some(text) = row.raw("masked").filter(|text| *text != "null") else { return Ok(None) };
    if !text.starts_with('{') {
        return Err(CallError::invalid("masked", "an object"));
    }
    let masked = Params::read(Some(text))?;
    let kinds: Vec<String> = serde_json::from_str(masked.raw("kinds").unwrap_or("[]"))
        .map_err(|_| CallError::invalid("kinds", "an array of strings"))?;
    if kinds.len() > MAX_KINDS {
        return Err(CallError::invalid("kinds", format_args!("at most {MAX_KINDS} kinds")));
    }
    let was = match masked.string_opt("was")? {
        Some(digits) => {
            let is_hash = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let hash = u128::from_str_radix(&digits, 16).ok().filter(|_| is_hash);
            Some(hash.ok_or_else(|| CallError::invalid("was", "32 hexadecimal digits"))?.to_be_bytes())
        }
        None => None,
    };
    Ok(Some(MaskedFrom { was, kinds: kinds.iter().map(|kind| secrets::kind_named(kind)).collect() }))
}

/// Masks a draft that was not masked. Returns what was done; `None` if nothing. The text is empty if all of it is private.
pub(crate) fn mask(draft: &mut Draft) -> Option<MaskedFrom> {
    if let Some(cue) = secrets::masked(&draft.cue) {
        draft.cue = cue.text;
    }
    let masked = secrets::masked(&draft.text)?;
    // A longer text was stored in parts.
    let is_one = draft.text.len() <= TEXT_BYTES;
    let was = is_one.then(|| fingerprint(&draft.session, draft.role, &draft.text));
    draft.text = masked.text;
    Some(MaskedFrom { was, kinds: masked.kinds })
}
