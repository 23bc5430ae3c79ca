//! Calls in the host's own JSON envelope: every trigger that is not HTTP, here the timer.

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

/// What the host sends to a timer function that has not run before.
pub fn timer(function: &str, binding: &str) -> Value {
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
    json!({
        "Data": { binding: {
            "Schedule": {"AdjustForDST": true},
            "ScheduleStatus": {"Last": "0001-01-01T00:00:00", "Next": now, "LastUpdated": "0001-01-01T00:00:00"},
            "IsPastDue": false,
        }},
        "Metadata": {"sys": {"MethodName": function, "UtcNow": now, "RandGuid": Uuid::new_v4()}},
    })
}

/// Reads the answer as strictly as the host does. `Err`: the invocation failed, and its `Logs` are discarded.
pub fn read(status: u16, content_type: &str, body: &[u8]) -> Result<Value, String> {
    let text = String::from_utf8_lossy(body);
    if !(200..300).contains(&status) {
        return Err(format!("Response status code does not indicate success: {status} {text}"));
    }
    if body.is_empty() {
        return Err("an empty answer: the invocation would hang until functionTimeout".to_owned());
    }
    if !content_type.starts_with("application/json") {
        return Err(format!("Invalid HttpResponseMessage: content type {content_type:?}"));
    }
    let answer: Value =
        serde_json::from_slice(body).map_err(|error| format!("Invalid HttpResponseMessage: {error}"))?;
    let members = answer.as_object().ok_or_else(|| format!("not an object: {text}"))?;
    for (name, value) in members {
        let valid = match name.as_str() {
            "Outputs" => value.is_null() || value.is_object(),
            "Logs" => value.is_null() || value.as_array().is_some_and(|logs| logs.iter().all(Value::is_string)),
            "ReturnValue" => true,
            _ => return Err(format!("the host does not know {name:?} in {text}")),
        };
        if !valid {
            return Err(format!("{name} has the wrong type in {text}"));
        }
    }
    Ok(answer)
}

#[test]
fn answers_that_the_host_takes() {
    let json = "application/json";
    for body in [r#"{"Outputs":{},"Logs":["a"],"ReturnValue":null}"#, r#"{"Outputs":null,"Logs":null}"#, "{}"] {
        assert!(read(200, json, body.as_bytes()).is_ok(), "{body}");
    }
    for body in ["", "ok", "[]", r#"{"Outputs":[]}"#, r#"{"Logs":"a"}"#, r#"{"Logs":[1]}"#, r#"{"outputs":{}}"#] {
        assert!(read(200, json, body.as_bytes()).is_err(), "{body}");
    }
    assert!(read(500, json, b"{}").is_err());
    assert!(read(200, "text/plain", b"{}").is_err());
}
