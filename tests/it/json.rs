//! The corner cases of public JSON test suites, each sent to the daemon as a line, as the value of an ignored
//! key, and inside params. `y_` cases are JSON, `n_` cases are not, and for `i_` cases parsers may decide: the
//! table has the daemon's decision.
//!
//! No case contains a newline, since that would end the line.

use serde_json::{Value, json};

use crate::harness::{Client, setup};

/// The error for a line that is JSON but not an object.
const JSON: &str = "request must be a JSON object";

/// Each case with the error for it as a line: [`JSON`], or the parse error.
#[rustfmt::skip]
const CASES: &[(&str, &[u8], &str)] = &[
    // Arrays.
    ("y_array_empty", b"[]", JSON),
    ("y_array_spaces", b" [ \t\r] ", JSON),
    ("y_array_mixed", b"[null,1,\"1\",{}]", JSON),
    ("y_array_nulls", b"[1,null,null,null,2]", JSON),
    ("y_array_nested_empty", b"[[]   ]", JSON),
    ("n_array_comma_alone", b"[,]", "expected value"),
    ("n_array_comma_first", b"[,1]", "expected value"),
    ("n_array_comma_last", b"[1,]", "expected value"),
    ("n_array_comma_twice", b"[1,,2]", "expected value"),
    ("n_array_comma_after", b"[1],", "trailing characters"),
    ("n_array_no_comma", b"[1 true]", "expected `,` or `]`"),
    ("n_array_colon", b"[\"\":1]", "expected `,` or `]`"),
    ("n_array_unclosed", b"[1", "EOF while parsing a list"),
    ("n_array_unclosed_comma", b"[1,", "EOF while parsing a value"),
    ("n_array_unclosed_nested", b"[{}", "EOF while parsing a list"),
    ("n_array_unopened", b"1]", "trailing characters"),
    ("n_array_closed_twice", b"[1]]", "trailing characters"),
    ("n_array_closed_as_object", b"[1}", "expected `,` or `]`"),
    ("n_array_star", b"[*]", "expected value"),
    ("n_array_bare_word", b"[x", "expected value"),
    ("n_array_semicolon", b"[1;2]", "expected `,` or `]`"),
    // Objects.
    ("y_object_empty", b"{}", "jsonrpc must be '2.0'"),
    ("y_object_empty_key", b"{\"\":0}", "jsonrpc must be '2.0'"),
    ("y_object_twice_the_same_key", b"{\"a\":1,\"a\":2}", "jsonrpc must be '2.0'"),
    ("y_object_nul_in_key", b"{\"a\\u0000b\":1}", "jsonrpc must be '2.0'"),
    ("y_object_long_strings", b"{\"x\":[{\"y\":\"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\"}]}", "jsonrpc must be '2.0'"),
    ("n_object_no_colon", b"{\"a\" 1}", "expected `:`"),
    ("n_object_two_colons", b"{\"a\"::1}", "expected value"),
    ("n_object_comma_for_colon", b"{\"a\",1}", "expected `:`"),
    ("n_object_comma_first", b"{,\"a\":1}", "key must be a string"),
    ("n_object_comma_last", b"{\"a\":1,}", "key must be a string"),
    ("n_object_comma_twice", b"{\"a\":1,,\"b\":2}", "key must be a string"),
    ("n_object_no_value", b"{\"a\":}", "expected value"),
    ("n_object_key_alone", b"{\"a\"}", "expected `:`"),
    ("n_object_key_number", b"{1:1}", "key must be a string"),
    ("n_object_key_null", b"{null:null}", "key must be a string"),
    ("n_object_key_bare", b"{a:\"b\"}", "key must be a string"),
    ("n_object_key_single_quotes", b"{'a':0}", "key must be a string"),
    ("n_object_in_key", b"{[]:1}", "key must be a string"),
    ("n_object_unclosed", b"{\"a\":1", "EOF while parsing an object"),
    ("n_object_unclosed_key", b"{\"a", "EOF while parsing a string"),
    ("n_object_unclosed_colon", b"{\"a\":", "EOF while parsing a value"),
    ("n_object_closed_twice", b"{\"a\":1}}", "trailing characters"),
    ("n_object_closed_as_array", b"{\"a\":1]", "expected `,` or `}`"),
    ("n_object_bad_value", b"[\"a\":truth]", "expected `,` or `]`"),
    ("n_object_comment_after", b"{\"a\":1}/**/", "trailing characters"),
    ("n_object_line_comment_after", b"{\"a\":1}//", "trailing characters"),
    ("n_object_hash_after", b"{\"a\":1}#", "trailing characters"),
    ("n_object_slash_open_after", b"{\"a\":1}/*", "trailing characters"),
    ("n_object_comment_inside", b"{\"a\":/*x*/1}", "expected value"),
    // Literals.
    ("y_null", b"null", JSON),
    ("y_true", b"true", JSON),
    ("y_false", b"false", JSON),
    ("n_true_short", b"tru", "EOF while parsing a value"),
    ("n_false_short", b"fals", "EOF while parsing a value"),
    ("n_null_short", b"nul", "EOF while parsing a value"),
    ("n_true_capital", b"True", "expected value"),
    ("n_null_capitals", b"NULL", "expected value"),
    ("n_true_long", b"trues", "trailing characters"),
    ("n_undefined", b"undefined", "expected value"),
    ("n_nan", b"NaN", "expected value"),
    ("n_minus_nan", b"-NaN", "invalid number"),
    ("n_infinity", b"Infinity", "expected value"),
    ("n_minus_infinity", b"-Infinity", "invalid number"),
    ("n_inf", b"[inf]", "expected value"),
    // Numbers.
    ("y_number_zero", b"0", JSON),
    ("y_number_minus_zero", b"-0", JSON),
    ("y_number_minus_one", b"-1", JSON),
    ("y_number_space_after", b"4 ", JSON),
    ("y_number_fraction", b"123.456789", JSON),
    ("y_number_exponent", b"123e45", JSON),
    ("y_number_exponent_capital", b"1E22", JSON),
    ("y_number_exponent_plus", b"1e+2", JSON),
    ("y_number_exponent_minus", b"1e-2", JSON),
    ("y_number_zero_exponent", b"0e+1", JSON),
    ("y_number_zero_exponent_long", b"0e1000000000000", JSON),
    ("y_number_near_zero", b"-0.000000000000000000000000000000000000000000000000000000000000000000000000000001", JSON),
    ("y_number_largest_u64", b"18446744073709551615", JSON),
    ("i_number_over_u64", b"18446744073709551616", JSON),
    ("i_number_under_i64", b"-9223372036854775809", JSON),
    ("i_number_of_many_digits", b"100000000000000000000000000000000000000000000000000", JSON),
    ("i_number_over_f64", b"1e400", JSON),
    ("i_number_under_minus_f64", b"-1e400", JSON),
    ("i_number_underflow", b"1e-400", JSON),
    ("i_number_exponent_over_u64", b"0.4e00669999999999999999999999999999999999999999999999", JSON),
    ("n_number_leading_zero", b"012", "invalid number"),
    ("n_number_minus_leading_zero", b"-012", "invalid number"),
    ("n_number_two_zeros", b"00", "invalid number"),
    ("n_number_plus", b"+1", "expected value"),
    ("n_number_two_signs", b"--1", "invalid number"),
    ("n_number_minus_alone", b"-", "invalid number"),
    ("n_number_minus_space", b"- 1", "invalid number"),
    ("n_number_point_first", b".5", "expected value"),
    ("n_number_minus_point", b"-.5", "invalid number"),
    ("n_number_point_last", b"1.", "invalid number"),
    ("n_number_zero_point", b"0.", "invalid number"),
    ("n_number_point_exponent", b"0.e1", "invalid number"),
    ("n_number_two_points", b"1.2.3", "trailing characters"),
    ("n_number_exponent_alone", b"1e", "invalid number"),
    ("n_number_exponent_sign_alone", b"1e+", "invalid number"),
    ("n_number_exponent_fraction", b"1e1.5", "trailing characters"),
    ("n_number_two_exponents", b"1eE2", "invalid number"),
    ("n_number_hex", b"0x1F", "trailing characters"),
    ("n_number_underscore", b"1_000", "trailing characters"),
    ("n_number_space", b"1 000", "trailing characters"),
    ("n_number_letter", b"1a", "trailing characters"),
    ("n_number_fullwidth", "\u{ff11}".as_bytes(), "expected value"),
    ("n_number_invalid_utf8_after", b"123\xe5", "invalid UTF-8"),
    ("n_number_expression", b"1+2", "trailing characters"),
    // Strings.
    ("y_string_empty", b"\"\"", JSON),
    ("y_string_escapes", b"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", JSON),
    ("y_string_unicode_escape", b"\"\\u0061\\u30af\\u30EA\"", JSON),
    ("y_string_escaped_nul", b"\"\\u0000\"", JSON),
    ("y_string_escaped_control", b"\"\\u0012\"", JSON),
    ("y_string_pair", b"\"\\uD801\\udc37\"", JSON),
    ("y_string_noncharacter", b"\"\\uFFFF\"", JSON),
    ("y_string_noncharacter_pair", b"\"\\uDBFF\\uDFFE\"", JSON),
    ("y_string_backslash_and_u", b"\"\\\\u0061\"", JSON),
    ("y_string_delete", b"\"a\x7fa\"", JSON),
    ("y_string_utf8", "\"€𝄞\"".as_bytes(), JSON),
    ("y_string_line_separators", "\"\u{2028}\u{2029}\"".as_bytes(), JSON),
    ("y_string_comment", b"\"a/*b*/c//d\"", JSON),
    ("y_string_byte_order_mark", "\"\u{feff}\"".as_bytes(), JSON),
    ("i_string_high_surrogate", b"\"\\uD800\"", JSON),
    ("i_string_low_surrogate", b"\"\\uDC00\"", JSON),
    ("i_string_swapped_pair", b"\"\\uDd1e\\uD834\"", JSON),
    ("i_string_high_and_letter", b"\"\\uD800a\"", JSON),
    ("i_string_high_and_escape", b"\"\\uD800\\n\"", JSON),
    ("i_string_two_highs", b"\"\\uD800\\uD800\"", JSON),
    ("n_string_invalid_utf8", b"\"\xff\"", "invalid UTF-8"),
    ("n_string_latin1", b"\"\xe9\"", "invalid UTF-8"),
    ("n_string_overlong", b"\"\xc0\xaf\"", "invalid UTF-8"),
    ("n_string_overlong_long", b"\"\xfc\x83\xbf\xbf\xbf\xbf\"", "invalid UTF-8"),
    ("n_string_surrogate_in_utf8", b"\"\xed\xa0\x80\"", "invalid UTF-8"),
    ("n_string_over_unicode", b"\"\xf4\xbf\xbf\xbf\"", "invalid UTF-8"),
    ("n_string_continuation_alone", b"\"\x81\"", "invalid UTF-8"),
    ("n_string_sequence_cut", b"\"\xe0\xff\"", "invalid UTF-8"),
    ("n_string_tab", b"\"\t\"", "control character"),
    ("n_string_return", b"\"\r\"", "control character"),
    ("n_string_nul", b"\"a\0a\"", "control character"),
    ("n_string_control", b"\"a\x1fa\"", "control character"),
    ("n_string_escape_x", b"\"\\x00\"", "invalid escape"),
    ("n_string_escape_a", b"\"\\a\"", "invalid escape"),
    ("n_string_escape_capital_u", b"\"\\U0061\"", "invalid escape"),
    ("n_string_escape_single_quote", b"\"\\'\"", "invalid escape"),
    ("n_string_escape_nul", b"\"\\\0\"", "invalid escape"),
    ("n_string_escape_emoji", "\"\\🌀\"".as_bytes(), "invalid escape"),
    ("n_string_escape_invalid_utf8", b"\"\\\xe5\"", "invalid UTF-8"),
    ("n_string_escape_at_the_end", b"\"\\\"", "EOF while parsing a string"),
    ("n_string_unicode_short", b"\"\\u00A\"", "invalid escape"),
    ("n_string_unicode_no_hex", b"\"\\u00g0\"", "invalid escape"),
    ("n_string_unicode_none", b"\"\\u\"", "EOF while parsing a string"),
    ("n_string_surrogate_cut", b"\"\\uD834\\uDd\"", "EOF while parsing a string"),
    ("n_string_unclosed", b"\"a", "EOF while parsing a string"),
    ("n_string_quote_alone", b"\"", "EOF while parsing a string"),
    ("n_string_single_quotes", b"'a'", "expected value"),
    ("n_string_bare", b"a", "expected value"),
    ("n_string_unopened", b"a\"", "expected value"),
    ("n_string_two", b"\"a\"\"b\"", "trailing characters"),
    ("n_string_x_after", b"\"a\"x", "trailing characters"),
    ("n_string_newline_escape_bare", b"[\\n]", "expected value"),
    // Structure.
    ("n_structure_two_values", b"1 2", "trailing characters"),
    ("n_structure_two_objects", b"{}{}", "trailing characters"),
    ("n_structure_open_open", b"[{", "EOF while parsing an object"),
    ("n_structure_close_alone", b"]", "expected value"),
    ("n_structure_close_object_alone", b"}", "expected value"),
    ("n_structure_comma_alone", b",", "expected value"),
    ("n_structure_colon_alone", b":", "expected value"),
    ("n_structure_comment_alone", b"//", "expected value"),
    ("n_structure_angle", b"<null>", "expected value"),
    ("n_structure_nul_after", b"1\0", "trailing characters"),
    ("n_structure_form_feed", b"[\x0c]", "expected value"),
    ("n_structure_vertical_tab", b"[\x0b]", "expected value"),
    ("n_structure_no_break_space", "[\u{a0}]".as_bytes(), "expected value"),
    ("n_structure_word_joiner", "[\u{2060}]".as_bytes(), "expected value"),
    ("n_structure_byte_order_mark", b"\xef\xbb\xbf{}", "expected value"),
    ("n_structure_byte_order_mark_cut", b"\xef\xbb{}", "invalid UTF-8"),
    ("n_structure_utf16", b"{\0}\0", "key must be a string"),
    ("n_structure_gremlin", b"\x1b[1]", "expected value"),
];

/// JSON that a method refuses: each case, as the value after this beginning of the params of
/// `memory_recall`, is refused with this message.
const REFUSED_BY_METHOD: &[(&str, &[u8], &str, &str)] = &[
    (
        "i_string_high_surrogate",
        b"\"\\uD800\"",
        r#""cue":"#,
        "must be a string of valid Unicode (it holds a lone surrogate)",
    ),
    (
        "i_string_swapped_pair",
        b"\"\\uDd1e\\uD834\"",
        r#""cue":"#,
        "must be a string of valid Unicode (it holds a lone surrogate)",
    ),
    ("i_number_over_u64", b"18446744073709551616", r#""cue":"x","limit":"#, "must be an integer from 1 to 100"),
    ("i_number_over_f64", b"1e400", r#""cue":"x","limit":"#, "must be an integer from 1 to 100"),
    ("y_number_fraction", b"1.5", r#""cue":"x","limit":"#, "must be an integer from 1 to 100"),
    ("y_number_minus_zero", b"-0", r#""cue":"x","limit":"#, "must be an integer from 1 to 100"),
];

#[test]
fn each_case_is_accepted_or_refused_at_every_place() {
    let daemon = setup();
    let mut client = daemon.client();
    for (name, case, expected) in CASES {
        let is_json = !name.starts_with("n_");
        let line = ask(&mut client, &[case]);
        let code = if is_json { -32600 } else { -32700 };
        assert_eq!((&line["error"]["code"], &line["id"]), (&json!(code), &Value::Null), "{name}: {line}");
        assert!(line["error"]["message"].as_str().is_some_and(|message| message.contains(expected)), "{name}: {line}");

        let ignored = ask(&mut client, &[br#"{"jsonrpc":"2.0","id":1,"x":"#, case, br#","method":"ping"}"#]);
        let start: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"memory_recall","params":{"cue":"x","extra":"#;
        let within = ask(&mut client, &[start, case, b"}}"]);
        for reply in [&ignored, &within] {
            match is_json {
                true => assert!(reply["id"] == 1 && reply["result"].is_object(), "{name}: {reply}"),
                false => assert!(reply["id"].is_null() && reply["error"]["code"] == -32700, "{name}: {reply}"),
            }
        }
    }
}

#[test]
fn unusable_params_are_refused_by_the_method() {
    let daemon = setup();
    let mut client = daemon.client();
    for (name, case, before, expected) in REFUSED_BY_METHOD {
        let start = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"memory_recall","params":{{{before}"#);
        let reply = ask(&mut client, &[start.as_bytes(), case, b"}}"]);
        assert_eq!((&reply["id"], &reply["error"]["code"]), (&json!(1), &json!(-32602)), "{name}: {reply}");
        assert!(
            reply["error"]["message"].as_str().is_some_and(|message| message.contains(expected)),
            "{name}: {reply}"
        );
    }
}

#[test]
fn deep_nesting_is_refused() {
    let daemon = setup();
    let mut client = daemon.client();
    for open in ["[", "{\"\":", "[{\"\":"] {
        let reply = ask(&mut client, &[open.repeat(100_000).as_bytes()]);
        assert_eq!(reply["error"]["code"], -32700, "{open}: {reply}");
        let message = reply["error"]["message"].as_str().expect("a text");
        assert!(message.starts_with("nested deeper than 128 at column "), "{open}: {message}");
    }
    let deep = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
    assert_eq!(ask(&mut client, &[&deep(128)])["error"]["message"], JSON);
    assert_eq!(ask(&mut client, &[&deep(129)])["error"]["code"], -32700);
}

/// Sends a line of these parts and returns its reply.
fn ask(client: &mut Client, parts: &[&[u8]]) -> Value {
    client.send([&parts.concat()[..], b"\n"].concat());
    let reply = client.line();
    serde_json::from_str(&reply).unwrap_or_else(|e| panic!("{reply:?} is not JSON: {e}"))
}
