//! Reading the named params of a call.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::RangeInclusive;

use crate::wire::json;
use crate::wire::reply::{CallError, code, excerpt};
use crate::wire::scan::{self, Top};

/// The named params of a call, borrowed from its line. Names that are never read are ignored. The readers
/// with a default or an optional result treat `null` as absent.
#[derive(Debug, Default)]
pub struct Params<'a> {
    named: Vec<(Cow<'a, str>, &'a str)>,
}

impl<'a> Params<'a> {
    /// Reads the JSON text of a request's `params`. `None` is read as an empty object.
    ///
    /// # Errors
    /// Code -32602 if the text is not an object or contains a name twice.
    pub fn read(text: Option<&'a str>) -> Result<Params<'a>, CallError> {
        let Some(text) = text else { return Ok(Params::default()) };
        if text.starts_with('[') {
            return Err(CallError::positional());
        }
        let mut named = Vec::new();
        // The nesting limit was checked when the line was read.
        let top = scan::document(text, scan::DEEPEST, |key, value| {
            // A key with a lone surrogate is no valid string, so it names no param.
            named.extend(json::string(key).map(|name| (name, value)));
        });
        if top != Some(Top::Object) {
            let message = "params must be a JSON object".into();
            return Err(CallError { code: code::INVALID_PARAMS, message });
        }
        match first_duplicate(&named) {
            Some(name) => {
                let message = format!("duplicate param '{}'", excerpt(name));
                Err(CallError { code: code::INVALID_PARAMS, message })
            }
            None => Ok(Params { named }),
        }
    }

    /// Returns the JSON text of a param, `null` included, or `None` if it is absent.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.named.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
    }

    /// Returns a required string.
    ///
    /// # Errors
    /// Code -32602 if it is absent, not a string, or contains a lone surrogate.
    pub fn string(&self, name: &str) -> Result<Cow<'a, str>, CallError> {
        text(name, self.raw(name).ok_or_else(|| CallError::missing(name))?)
    }

    /// Returns an optional string.
    ///
    /// # Errors
    /// Code -32602 if it is neither absent nor a string, or contains a lone surrogate.
    pub fn string_opt(&self, name: &str) -> Result<Option<Cow<'a, str>>, CallError> {
        self.present(name).map(|raw| text(name, raw)).transpose()
    }

    /// Returns a string, or `default` if it is absent.
    ///
    /// # Errors
    /// Code -32602 if it is neither absent nor a string, or contains a lone surrogate.
    pub fn string_or(&self, name: &str, default: &'static str) -> Result<Cow<'a, str>, CallError> {
        Ok(self.string_opt(name)?.unwrap_or(Cow::Borrowed(default)))
    }

    /// Returns an integer within `range`, or `default` if it is absent. `10`, `10.0` and `1e1` are
    /// integers.
    ///
    /// # Errors
    /// Code -32602 if it is neither absent nor an integer within `range`. The message contains the range.
    pub fn integer_or(&self, name: &str, range: RangeInclusive<i64>, default: i64) -> Result<i64, CallError> {
        Ok(self.integer_opt(name, range)?.unwrap_or(default))
    }

    /// Returns an optional integer within `range`.
    ///
    /// # Errors
    /// Code -32602 if it is neither absent nor an integer within `range`. The message contains the range.
    pub fn integer_opt(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, CallError> {
        let Some(raw) = self.present(name) else { return Ok(None) };
        whole(raw).filter(|n| range.contains(n)).map(Some).ok_or_else(|| {
            CallError::invalid(name, format_args!("an integer from {} to {}", range.start(), range.end()))
        })
    }

    /// Returns a boolean, or `default` if it is absent.
    ///
    /// # Errors
    /// Code -32602 if it is neither absent nor a boolean.
    pub fn boolean_or(&self, name: &str, default: bool) -> Result<bool, CallError> {
        match self.present(name) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(CallError::invalid(name, "true or false")),
        }
    }

    fn present(&self, name: &str) -> Option<&'a str> {
        self.raw(name).filter(|raw| *raw != "null")
    }
}

/// Names up to this number are compared with each other, which takes less time than a set of them.
const MAX_COMPARED_COUNT: usize = 16;

/// Returns the first name that an earlier one is equal to.
fn first_duplicate<'n>(named: &'n [(Cow<'_, str>, &str)]) -> Option<&'n str> {
    let mut names = named.iter().map(|(name, _)| &**name);
    if named.len() <= MAX_COMPARED_COUNT {
        let is_duplicate = |&(at, name): &(usize, &str)| named[..at].iter().any(|(earlier, _)| earlier == name);
        return names.enumerate().find(is_duplicate).map(|(_, name)| name);
    }
    let mut seen = HashSet::with_capacity(named.len());
    names.find(|name| !seen.insert(*name))
}

fn text<'a>(name: &str, raw: &'a str) -> Result<Cow<'a, str>, CallError> {
    json::string(raw).ok_or_else(|| {
        let expected =
            if raw.starts_with('"') { "a string of valid Unicode (it holds a lone surrogate)" } else { "a string" };
        CallError::invalid(name, expected)
    })
}

fn whole(raw: &str) -> Option<i64> {
    if let Ok(n) = raw.parse::<i64>() {
        return Some(n);
    }
    // 2^53: up to this magnitude, distinct integers are distinct f64 values.
    let n = raw.parse::<f64>().ok().filter(|n| n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0)?;
    Some(n as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_are_read_by_name_and_type() {
        let params = Params::read(Some(
            r#"{"text":"a\"b","plain":"x","n":7,"f":2.0,"e":1e1,"half":1.5,"none":null,"\u006eame":"v","s":"\ud800"}"#,
        ))
        .unwrap();
        assert_eq!(params.string("text").unwrap(), "a\"b");
        assert!(matches!(params.string("plain"), Ok(Cow::Borrowed("x"))));
        assert_eq!(params.string("name").unwrap(), "v");
        assert_eq!(params.string_or("gone", "-").unwrap(), "-");
        assert_eq!(params.string_or("none", "-").unwrap(), "-");
        for (name, want) in [("n", 7), ("f", 2), ("e", 10), ("gone", 5), ("none", 5)] {
            assert_eq!(params.integer_or(name, 0..=100, 5), Ok(want), "{name}");
        }
        assert_eq!((params.integer_opt("n", 0..=7), params.integer_opt("none", 0..=7)), (Ok(Some(7)), Ok(None)));
        for (name, message) in [
            ("half", "param 'half' must be an integer from 0 to 100"),
            ("plain", "param 'plain' must be an integer from 0 to 100"),
        ] {
            assert_eq!(params.integer_or(name, 0..=100, 5).unwrap_err().message, message);
        }
        assert_eq!(params.string("absent").unwrap_err().message, "missing required param: 'absent'");
        assert_eq!(params.string("none").unwrap_err().message, "param 'none' must be a string");
        assert!(params.string("s").unwrap_err().message.contains("lone surrogate"));
    }

    #[test]
    fn arrays_and_duplicate_names_are_refused() {
        for (text, message) in [
            ("[1]", "params must be an object of named params, not an array"),
            (r#"{"a":1,"\u0061":2}"#, "duplicate param 'a'"),
            (r#"{"a":1,"b":2,"c":3,"c":4,"b":5}"#, "duplicate param 'c'"),
            (&format!("{{{},\"c\":3,\"c\":4,\"a7\":5}}", numbered(17)), "duplicate param 'c'"),
            (&format!("{{{},\"\\u0061\\u0039\":5}}", numbered(1000)), "duplicate param 'a9'"),
        ] {
            let error = Params::read(Some(text)).unwrap_err();
            assert_eq!((error.code, error.message.as_str()), (code::INVALID_PARAMS, message));
        }
        assert!(Params::read(None).unwrap().raw("a").is_none());
        assert!(Params::read(Some(&format!("{{{}}}", numbered(1000)))).unwrap().raw("a999").is_some());
    }

    /// Returns as many members with names of their own.
    fn numbered(count: usize) -> String {
        (0..count).map(|n| format!("\"a{n}\":{n}")).collect::<Vec<_>>().join(",")
    }
}
