//! From answers to organizations: ids, names, what is kept of a record and what counts, the way back from an id to a request,
//! and answers that are too long, broken off or late.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use crosswalk::integrations::{FailureClass, runner::Timing};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::{
    paging::{ids, manifest},
    subject::{QUICK, Subject},
    system::{Reply, System},
};

const SINGLE: &str = "{type: single_page}";

/// One page with these records.
async fn holding(records: Value) -> System {
    System::start(move |_| Reply::json(&json!({"data": records}))).await
}

/// Ids and names of these records, or the message.
async fn listed(text: &str, records: Value) -> Result<Vec<(String, String)>, String> {
    let system = holding(records).await;
    let listed = Subject::new(text, &[], &system).list().await.map_err(|failure| failure.message)?;
    Ok(listed.into_iter().map(|one| (one.id.as_str().to_owned(), one.name)).collect())
}

fn with_one(request: &str) -> String {
    manifest(SINGLE)
        .replace("list_organizations:", &format!("get_organization: {{request: {request}}}, list_organizations:"))
}

#[tokio::test]
async fn trap_11_every_id_is_a_text_and_goes_into_a_path_encoded() {
    // Numbers beyond 2^53, GUIDs, base64, domains, paths: the same text in the list, in the request and in the answer.
    let text = with_one("{path: '/orgs/{{org.id}}'}");
    let big = 9_007_199_254_740_993_u64;
    for (id, shown, path) in [
        (json!(7), "7", "7"),
        (json!(-1), "-1", "-1"),
        (json!(big), "9007199254740993", "9007199254740993"),
        (json!(u64::MAX), "18446744073709551615", "18446744073709551615"),
        (json!("9007199254740993000001"), "9007199254740993000001", "9007199254740993000001"),
        (json!("007"), "007", "007"),
        (
            json!("6f9619ff-8b86-d011-b42d-00c04fc964ff"),
            "6f9619ff-8b86-d011-b42d-00c04fc964ff",
            "6f9619ff-8b86-d011-b42d-00c04fc964ff",
        ),
        (json!("Q3Jvc3M+d2Fsaw=="), "Q3Jvc3M+d2Fsaw==", "Q3Jvc3M%2Bd2Fsaw%3D%3D"),
        (json!("acme.example.com"), "acme.example.com", "acme.example.com"),
        (json!("customers/C1?x#y"), "customers/C1?x#y", "customers%2FC1%3Fx%23y"),
        (json!("100% é"), "100% é", "100%25%20%C3%A9"),
    ] {
        let one = id.clone();
        let system = System::start(move |asked| {
            let record = json!({"id": one, "name": "Acme"});
            if asked.path == "/v1/orgs" { Reply::json(&json!({"data": [record]})) } else { Reply::json(&record) }
        })
        .await;
        let subject = Subject::new(&text, &[], &system);
        assert_eq!(ids(&subject.list().await.unwrap()), [shown]);
        assert!(subject.test(shown).await.is_none(), "{id}");
        assert_eq!(system.asked().last().unwrap().path, format!("/v1/orgs/{path}"));
    }
}

#[tokio::test]
async fn what_is_no_id_is_an_error() {
    let none = "an organization of the list has no id at '/id'";
    let rule = "the id of an organization of the list must be 1 to 200 characters";
    for (id, expected) in [
        (json!(null), none),
        (json!(""), none),
        (json!(true), none),
        (json!(1.0), none),
        (json!(1.5), none),
        (json!(1e300), none),
        (json!([1]), none),
        (json!({"id": 1}), none),
        (json!("O'Brien"), rule),
        (json!("\"7\""), rule),
        (json!("<b>"), rule),
        (json!("a\nb"), rule),
        (json!("x".repeat(201)), rule),
    ] {
        let message = listed(&manifest(SINGLE), json!([{"id": 1}, {"id": id, "name": "x"}])).await.unwrap_err();
        assert!(message.starts_with(expected), "{id}: {message}");
    }
    assert_eq!(listed(&manifest(SINGLE), json!([{"id": 1}, {"name": "x"}])).await.unwrap_err(), none);
    // Rounded on the way it would be another organization.
    let system = System::start(|_| Reply::text("{\"data\": [{\"id\": 18446744073709551617}]}")).await;
    assert_eq!(Subject::new(&manifest(SINGLE), &[], &system).list().await.unwrap_err().message, none);
}

#[tokio::test]
async fn trap_12_the_id_0_is_one() {
    // Zero is the MSP's own company in one system; what is falsy elsewhere is an id here.
    let text = with_one("{path: '/orgs/{{org.id}}'}");
    let system = System::start(|asked| match asked.path.as_str() {
        "/v1/orgs" => Reply::json(&json!({"data": [{"id": 0, "name": "We"}, {"id": 1, "name": "They"}]})),
        "/v1/orgs/0" => Reply::json(&json!({"id": 0, "name": "We"})),
        _ => Reply::text("").status(404),
    })
    .await;
    let subject = Subject::new(&text, &[], &system);
    assert_eq!(ids(&subject.list().await.unwrap()), ["0", "1"]);
    assert!(subject.test("0").await.is_none());
    assert_eq!(subject.test("1").await.unwrap().class, FailureClass::NotFound);
}

#[tokio::test]
async fn trap_13_the_id_is_what_the_mapping_names_not_what_is_called_id() {
    // A contract has an id of its own beside the customer's.
    let text = manifest(SINGLE).replace("id: /id", "id: /customerId");
    let contracts = json!([{"id": "contract-1", "customerId": "c1", "name": "Acme"}]);
    assert_eq!(listed(&text, contracts.clone()).await.unwrap(), [("c1".to_owned(), "Acme".to_owned())]);
    // A test of a contract's id finds another organization, not a match.
    let one = with_one("{path: '/orgs/{{org.id}}'}, record_selector: /data").replace("id: /id", "id: /customerId");
    let system = holding(contracts).await;
    let subject = Subject::new(&one, &[], &system);
    assert!(subject.test("c1").await.is_none());
    insta::assert_snapshot!(
        subject.test("contract-1").await.unwrap(),
        @"asked for the organization contract-1, the system answered with c1"
    );
}

#[tokio::test]
async fn trap_14_names_that_are_missing_empty_or_everybodys() {
    // The first that says something counts, then the id; two may share one.
    let text = manifest(SINGLE).replace("name: /name", "name: [/business, /name]");
    let long = "é".repeat(10_000);
    for (record, expected) in [
        (json!({"business": "Acme", "name": "Ann"}), "Acme"),
        (json!({"business": "", "name": "Ann"}), "Ann"),
        (json!({"business": null, "name": "Ann"}), "Ann"),
        (json!({"business": " \t", "name": "Ann"}), "Ann"),
        (json!({"business": "\u{0}\u{1f}", "name": "Ann"}), "Ann"),
        (json!({"business": {"text": "Acme"}, "name": "Ann"}), "Ann"),
        (json!({"business": 365}), "365"),
        (json!({"name": "\u{a0}"}), "7"),
        (json!({}), "7"),
        (json!({"name": " A\r\nB\u{7}C\t "}), "A  B C"),
        (json!({"name": "<b>O'Brien & \"Söhne\"</b> 株式会社 🏢"}), "<b>O'Brien & \"Söhne\"</b> 株式会社 🏢"),
        (json!({"name": long}), &"é".repeat(300)),
    ] {
        let mut record = record;
        record["id"] = json!(7);
        let listed = listed(&text, json!([record])).await.unwrap();
        assert_eq!(listed, [("7".to_owned(), expected.to_owned())], "{record}");
    }
    let two = listed(&text, json!([{"id": 2, "name": "Default"}, {"id": 1, "name": "Default"}])).await.unwrap();
    assert_eq!(two, [("2".to_owned(), "Default".to_owned()), ("1".to_owned(), "Default".to_owned())]);
}

#[tokio::test]
async fn trap_15_only_what_the_mapping_names_is_kept_of_a_record() {
    // Records hold tokens of the organizations; neither lists nor errors may show them.
    let text = manifest(SINGLE).replace("name: /name", "name: /name, metadata: {host: /host, none: /none}");
    let record = json!({"id": 1, "name": "Acme", "host": "h", "none": null, "registrationToken": "tell-nobody"});
    let system = holding(json!([record])).await;
    let listed = Subject::new(&text, &[], &system).list().await.unwrap();
    assert_eq!(Value::Object(listed[0].metadata.clone()), json!({"host": "h"}));
    for broken in [json!({"registrationToken": "tell-nobody"}), json!({"id": "<tell-nobody>"})] {
        let system = holding(json!([broken])).await;
        let failure = Subject::new(&text, &[], &system).list().await.unwrap_err();
        assert!(!format!("{failure:?}").contains("tell-nobody"), "{failure:?}");
    }
}

#[tokio::test]
async fn trap_16_record_filters_leave_out_what_is_no_customer() {
    // Types, states and levels; all conditions have to be true, null is what is absent.
    let records = json!([
        {"id": 1, "type": "customer", "active": true},
        {"id": 2, "type": "customer", "active": false},
        {"id": 3, "type": "prospect", "active": true},
        {"id": 4, "active": true},
        {"id": 5, "type": null, "active": "true", "parent": 1},
        {"note": "not counted, so it needs no id", "type": "total"},
    ]);
    for (filter, expected) in [
        ("{path: /type, in: [customer]}", "1 2"),
        ("{path: /type, in: [customer]}, {path: /active, in: [true]}", "1"),
        ("{path: /type, not_in: [prospect, total]}", "1 2 4 5"),
        ("{path: /type, in: [null]}", "4 5"),
        ("{path: /type, is_null: true}", "4 5"),
        ("{path: /type, is_null: false}, {path: /type, not_in: [total]}", "1 2 3"),
        ("{path: /active, in: ['true']}", "5"),
        ("{path: /parent, in: [1]}", "5"),
    ] {
        let text = manifest(SINGLE).replace("mapping:", &format!("record_filter: [{filter}], mapping:"));
        let listed = listed(&text, records.clone()).await.unwrap();
        assert_eq!(listed.into_iter().map(|(id, _)| id).collect::<Vec<_>>().join(" "), expected, "{filter}");
    }
}

#[tokio::test]
async fn trap_17_an_empty_list_is_a_list_but_only_if_the_system_says_so() {
    // No records is an answer; an answer without records' place is none. The caller warns of an empty list.
    let json = manifest(SINGLE);
    let xml = json.replace("auth:", "decoder: xml, auth:").replace("/data", "/result/items/client");
    let ignored = "error_handler: {response_filters: [{path: /code, equals: NO_RECORDS, action: ignore}]}, auth:";
    let none = "the answer has nothing at";
    let page = "a web page, not JSON";
    for (text, status, body, expected) in [
        (&json, 200, "{\"data\": []}", ""),
        (&json, 200, "{\"data\": null}", ""),
        (&json, 200, "{}", none),
        (&json, 200, "null", none),
        (&json, 200, "", "the answer is empty"),
        (&json, 200, "[]", none),
        (&json, 200, "<html></html>", page),
        (&json.replace("auth:", ignored), 200, "{\"code\": \"NO_RECORDS\"}", ""),
        (&json.replace("auth:", ignored), 404, "{\"code\": \"NO_RECORDS\"}", ""),
        (&xml, 200, "<result status=\"OK\"><items/></result>", ""),
        (&xml, 200, "<result/>", ""),
        (&xml, 200, "<html><body>Sign in</body></html>", none),
        (&xml, 200, "", "the answer is empty"),
    ] {
        let system = System::start(move |_| Reply::text(body).status(status)).await;
        match Subject::new(text, &[], &system).list().await {
            Ok(listed) => assert!(listed.is_empty() && expected.is_empty(), "{body}"),
            Err(failure) => assert!(!expected.is_empty() && failure.message.contains(expected), "{body}: {failure}"),
        }
    }
}

#[tokio::test]
async fn xml_lists_of_one_and_of_many() {
    let xml = manifest(SINGLE).replace("auth:", "decoder: xml, auth:").replace("/data", "/result/items/client");
    let client = |id| format!("<client><id>{id}</id><name>A &amp; B</name></client>");
    for (clients, expected) in [(client("1"), vec!["1"]), (client("007") + &client("2"), vec!["007", "2"])] {
        let text = format!("<?xml version=\"1.0\"?><result><items>{clients}</items></result>");
        let system = System::start(move |_| Reply::text(text.clone())).await;
        let listed = Subject::new(&xml, &[], &system).list().await.unwrap();
        assert_eq!(
            (ids(&listed), listed[0].name.as_str()),
            (expected.into_iter().map(str::to_owned).collect(), "A & B")
        );
    }
}

#[tokio::test]
async fn trap_28_the_base_url_may_come_from_a_step_that_comes_before() {
    // The step itself has an absolute address; the base is put together only after it.
    let steps = "allowed_hosts: ['*.example.com'], post_connection: [{request: {url: https://id.example.com/whoami}, \
                 save: {api: /api}}], auth:";
    let text =
        manifest(SINGLE).replace("https://api.example.com/v1", "'{{connection.api}}/v1'").replace("auth:", steps);
    let system = System::start(|asked| match asked.path.as_str() {
        "/whoami" => Reply::json(&json!({"api": "https://eu3.example.com/"})),
        _ => Reply::json(&json!({"data": [{"id": asked.host}]})),
    })
    .await;
    assert_eq!(ids(&Subject::new(&text, &[], &system).list().await.unwrap()), ["eu3.example.com"]);
}

#[tokio::test]
async fn trap_29_a_path_is_appended_to_the_base_not_resolved_against_it() {
    // Resolving `/orgs` drops `/v1`.
    let system = holding(json!([])).await;
    Subject::new(&manifest(SINGLE), &[], &system).list().await.unwrap();
    assert_eq!(system.asked()[0].path, "/v1/orgs");
}

#[tokio::test]
async fn trap_30_values_in_a_body_keep_their_types() {
    // `page: 1`, not `page: "1"`; a setting that is a text stays one.
    let body = "path: /orgs, method: POST, body: {all: true, params: {page: 9, kind: null}, tags: [1, '1']}";
    let paginator = "{type: page_number, page_body_path: /params/page, start_page: 1, page_size: 2, \
                     page_size_body_path: /params/limits/size}";
    let text = manifest(paginator).replace("path: /orgs", body);
    let system = System::start(|asked| {
        let data = if asked.json()["params"]["page"] == 1 { json!([{"id": 1}]) } else { json!([]) };
        Reply::json(&json!({"data": data}))
    })
    .await;
    assert_eq!(Subject::new(&text, &[], &system).list().await.unwrap().len(), 1);
    let sent =
        |page| json!({"all": true, "params": {"page": page, "kind": null, "limits": {"size": 2}}, "tags": [1, "1"]});
    assert_eq!(system.asked().iter().map(crate::system::Asked::json).collect::<Vec<_>>(), [sent(1), sent(2)]);
}

fn hydrated() -> String {
    let hydrate = "hydrate: {request: {path: /details, method: POST, body: {}}, ids_body_path: /ids, batch_size: 2, \
                   record_selector: /data}, mapping:";
    manifest(SINGLE)
        .replace("mapping:", hydrate)
        .replace("list_organizations:", "rate_limit: {concurrency: 2}, list_organizations:")
}

#[tokio::test]
async fn details_are_read_in_batches_side_by_side_and_listed_in_order() {
    // Neither of two batches is answered before both are asked for.
    let barrier = Arc::new(Barrier::new(2));
    let system = System::start(move |asked| {
        if asked.path == "/v1/orgs" {
            return Reply::json(&json!({"data": ["a", "b", "c", "d", "c"]}));
        }
        let (barrier, wanted) = (Arc::clone(&barrier), asked.json()["ids"].as_array().unwrap().clone());
        let data: Vec<_> = wanted.iter().map(|id| json!({"id": id, "name": "x"})).collect();
        let answer = async move {
            barrier.wait().await;
            Ok(Bytes::from(json!({"data": data}).to_string()))
        };
        Reply::chunks(stream::once(answer).boxed())
    })
    .await;
    assert_eq!(ids(&Subject::new(&hydrated(), &[], &system).list().await.unwrap()), ["a", "b", "c", "d"]);
    assert_eq!(system.count("/v1/details"), 2);
}

#[tokio::test]
async fn details_that_nobody_asked_for_are_of_no_list() {
    let system = System::start(|asked| {
        let details = json!([{"id": "z"}, {"id": "b"}, {"id": "a"}]);
        Reply::json(&json!({"data": if asked.path == "/v1/orgs" { json!(["a", "b"]) } else { details }}))
    })
    .await;
    assert_eq!(ids(&Subject::new(&hydrated(), &[], &system).list().await.unwrap()), ["b", "a"]);
}

#[tokio::test]
async fn an_organization_without_details_is_not_left_out_silently() {
    let system = System::start(|asked| {
        let data = if asked.path == "/v1/orgs" { json!(["a", "b", "c"]) } else { json!([{"id": "a"}, {"id": "c"}]) };
        Reply::json(&json!({"data": data}))
    })
    .await;
    insta::assert_snapshot!(
        Subject::new(&hydrated(), &[], &system).list().await.unwrap_err(),
        @"the list cannot be read to its end: 1 of 2 organizations have no details"
    );
}

#[tokio::test]
async fn answers_that_are_too_long_broken_off_or_late() {
    let endless = || stream::repeat(Bytes::from(vec![b' '; 65_536])).map(Ok).boxed();
    let drip = || {
        stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Some((Ok(Bytes::from_static(b" ")), ()))
        })
    };
    let broken = || stream::iter([Ok(Bytes::from_static(b"{\"data\": [")), Err(std::io::Error::other("gone"))]).boxed();
    let timing = Timing { attempt: Duration::from_millis(300), ..QUICK };
    let long = Timing { attempt: Duration::from_secs(10), ..QUICK };
    let subject = async |reply: Box<dyn Fn() -> Reply + Send + Sync>, timing| {
        let system = System::start(move |_| reply()).await;
        Subject::new(&manifest(SINGLE), &[], &system).with_timing(timing).list().await.unwrap_err()
    };
    let too_long = "api.example.com answered with more than 16777216 bytes";
    let failure = subject(Box::new(move || Reply::chunks(endless())), long).await;
    assert_eq!((failure.class, failure.message.as_str()), (FailureClass::BadResponse, too_long));
    // The length that is announced is enough to refuse it.
    let failure =
        subject(Box::new(move || Reply::chunks(endless()).header("content-length", "2147483648")), long).await;
    assert_eq!((failure.class, failure.message.as_str()), (FailureClass::BadResponse, too_long));
    let failure = subject(Box::new(|| Reply::text("{\"data\": [{\"id\": 1}")), long).await;
    assert_eq!(failure.message, "GET api.example.com/v1/orgs: the answer is JSON that breaks off");
    let failure = subject(Box::new(move || Reply::chunks(broken())), long).await;
    assert_eq!(failure.message, "api.example.com: the answer broke off");
    let failure = subject(Box::new(move || Reply::chunks(drip().boxed())), timing).await;
    assert_eq!(
        (failure.class, failure.message.as_str()),
        (FailureClass::Timeout, "api.example.com did not answer in time")
    );
}
