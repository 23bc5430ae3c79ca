//! Lists of systems that page in every way there is, and in some that there should not be. What comes out is the whole list
//! in the system's order, or an error that says why.

use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

use crosswalk::domain::ExternalOrganization;
use serde_json::{Value, json};

use crate::{
    subject::Subject,
    system::{Asked, Reply, System},
};

/// A system whose list is at `/data`; the paginator as YAML on one line.
pub fn manifest(paginator: &str) -> String {
    format!(
        "{{id: sample, name: Sample, docs_url: https://docs.example.com/, confidence: high, \
         base_url: https://api.example.com/v1, auth: {{type: none}}, list_organizations: {{\
         request: {{path: /orgs}}, record_selector: /data, paginator: {paginator}, \
         mapping: {{id: /id, name: /name}}}}}}"
    )
}

pub fn ids(listed: &[ExternalOrganization]) -> Vec<String> {
    listed.iter().map(|organization| organization.id.as_str().to_owned()).collect()
}

pub fn rows(ids: Range<usize>) -> Vec<Value> {
    ids.map(|id| json!({"id": id, "name": format!("Organization {id}")})).collect()
}

const NUMBER: &str = "{type: page_number, page_param: page, start_page: 1}";
pub const PAGES: &str = "{type: page_number, page_param: page, start_page: 1, total_pages_path: /pages}";
const TOTAL: &str = "{type: page_number, page_param: page, start_page: 1, total_path: /total}";
const MORE: &str = "{type: page_number, page_param: page, start_page: 1, has_more_path: /more}";
pub const OFFSET: &str = "{type: offset, offset_param: page, total_path: /total}";
pub const CURSOR: &str = "{type: cursor, cursor_param: page, cursor_path: /next}";
const CURSOR_MORE: &str = "{type: cursor, cursor_param: page, cursor_path: /next, has_more_path: /more}";
const LAST: &str = "{type: cursor, cursor_param: page, last_record_path: /id}";
pub const LINK: &str = "{type: json_link, next_url_path: /next}";

/// The ids, or the message; where `page` (empty if it is not in the query) has no answer, the test fails.
async fn listed(paginator: &str, pages: &[(&str, Value)]) -> Result<String, String> {
    let (known, asked) = (pages.iter().map(|(page, body)| ((*page).to_owned(), body.clone())).collect(), paginator);
    let (result, system) = listed_from(known, &manifest(asked)).await;
    let unknown = |asked: &Asked| pages.iter().all(|(page, _)| *page != asked.query("page").unwrap_or_default());
    assert!(!system.asked().iter().any(unknown), "{paginator}: a page that nobody should ask for: {result:?}");
    result
}

async fn listed_from(pages: Vec<(String, Value)>, manifest: &str) -> (Result<String, String>, System) {
    let system = System::start(move |asked| {
        let page = asked.query("page").unwrap_or_default();
        pages.iter().find(|(known, _)| known == page).map_or_else(
            || Reply::text("").status(418),
            |(_, body)| {
                let link = body["link"].as_str();
                link.map_or_else(|| Reply::json(body), |link| Reply::json(body).header("link", link))
            },
        )
    })
    .await;
    let listed = Subject::new(manifest, &[], &system).list().await;
    (listed.map(|listed| ids(&listed).join(" ")).map_err(|failure| failure.message), system)
}

#[track_caller]
fn expect(context: &str, result: &Result<String, String>, expected: &str) {
    match (result, expected.strip_prefix("! ")) {
        (Err(message), Some(part)) => assert!(message.contains(part), "{context}: '{message}' does not say '{part}'"),
        (listed, _) => assert_eq!(listed.as_deref(), Ok(expected), "{context}"),
    }
}

/// What is wrong, the paginator, its pages, and what comes of it.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, Value)], &'a str);

/// Expected: ids, or `! ` and a part of the message.
async fn table(cases: &[Case<'_>]) {
    for (what, paginator, pages, expected) in cases {
        expect(what, &listed(paginator, pages).await, expected);
    }
}

pub fn page(ids: Range<usize>, more: Value) -> Value {
    let mut page = more;
    page["data"] = json!(rows(ids));
    page
}

#[tokio::test]
async fn trap_01_a_short_page_does_not_end_the_list() {
    // The system caps pages at 2, whatever size is asked for.
    let sized = NUMBER.replace('}', ", page_size: 100, page_size_param: size}");
    let pages = [
        ("1", page(1..3, json!({}))),
        ("2", page(3..5, json!({}))),
        ("3", page(5..6, json!({}))),
        ("4", page(0..0, json!({}))),
    ];
    assert_eq!(listed(&sized, &pages).await.unwrap(), "1 2 3 4 5");
}

#[tokio::test]
async fn trap_02_total_items_are_not_total_pages() {
    // The same number means another end.
    let two = |name: &str| page(1..3, json!({name: 2}));
    assert_eq!(listed(TOTAL, &[("1", two("total"))]).await.unwrap(), "1 2");
    assert_eq!(listed(PAGES, &[("1", two("pages")), ("2", page(3..4, json!({"pages": 2})))]).await.unwrap(), "1 2 3");
}

#[tokio::test]
async fn trap_03_the_first_page_is_0_or_1() {
    // An off-by-one skips the first page, or asks for one that does not exist.
    for paginator in [PAGES, TOTAL] {
        let zero = paginator.replace("start_page: 1", "start_page: 0");
        let last = |ids| page(ids, json!({"pages": 2, "total": 3}));
        assert_eq!(listed(&zero, &[("0", last(1..3)), ("1", last(3..4))]).await.unwrap(), "1 2 3");
        assert_eq!(listed(paginator, &[("1", last(1..3)), ("2", last(3..4))]).await.unwrap(), "1 2 3");
    }
}

#[tokio::test]
async fn trap_04_the_offset_advances_by_what_came() {
    // Not by the size that was asked for: 100 would skip 98.
    let sized = OFFSET.replace('}', ", page_size: 100, page_size_param: size}");
    let all = |ids| page(ids, json!({"total": 6}));
    let pages = [("0", all(1..3)), ("2", all(3..4)), ("3", all(4..7)), ("4", all(4..6))];
    // 4 is where equally long pages would go on; it may be asked for, but counts for nothing.
    assert_eq!(listed(&sized, &pages).await.unwrap(), "1 2 3 4 5 6");
}

#[tokio::test]
async fn trap_05_no_next_is_spelled_in_four_ways() {
    // Absent, null, an empty text, an empty Link header: all mean the end.
    for end in [json!({}), json!({"next": null}), json!({"next": ""})] {
        for paginator in [LINK, CURSOR] {
            assert_eq!(listed(paginator, &[("", page(1..3, end.clone()))]).await.unwrap(), "1 2", "{end}");
        }
    }
    for end in [json!({}), json!({"link": ""}), json!({"link": "<>; rel=\"next\""}), json!({"link": "</p>; rel=prev"})]
    {
        assert_eq!(listed("{type: header_link}", &[("", page(1..3, end.clone()))]).await.unwrap(), "1 2", "{end}");
    }
}

#[tokio::test]
async fn trap_06_a_cursor_on_the_last_page_null_for_no_records_and_a_cursor_of_0() {
    // The last page names a cursor, behind which is nothing; nothing is `null`; `0` is a place.
    let null = json!({"data": null});
    for nothing in [null.clone(), json!({"data": []}), json!({}), json!({"data": null, "next": "b"})] {
        let pages = [("", page(1..3, json!({"next": "a"}))), ("a", page(3..4, json!({"next": "b"}))), ("b", nothing)];
        assert_eq!(listed(CURSOR, &pages).await.unwrap(), "1 2 3");
    }
    let pages = [("", page(1..2, json!({"next": 0}))), ("0", page(2..3, json!({"next": null})))];
    assert_eq!(listed(CURSOR, &pages).await.unwrap(), "1 2");
    assert_eq!(listed(NUMBER, &[("1", null)]).await.unwrap(), "");
}

#[tokio::test]
async fn trap_07_a_next_link_is_relative_or_absolute_but_of_no_other_host() {
    // Credentials go where the link leads.
    for next in
        ["?page=2", "/v1/orgs?page=2", "https://api.example.com/v1/orgs?page=2", "//api.example.com/v1/orgs?page=2"]
    {
        for first in [page(1..2, json!({"next": next})), page(1..2, json!({"link": format!("<{next}>; rel=\"next\"")}))]
        {
            let paginator = if first["next"].is_null() { "{type: header_link}" } else { LINK };
            assert_eq!(listed(paginator, &[("", first), ("2", page(2..3, json!({})))]).await.unwrap(), "1 2", "{next}");
        }
    }
    for next in [
        "https://evil.example.org/v1/orgs?page=2",
        "http://api.example.com/v1/orgs?page=2",
        "https://api.example.com:444/x",
    ] {
        let message = listed(LINK, &[("", page(1..2, json!({"next": next})))]).await.unwrap_err();
        assert!(
            message.contains("is linked to by the answer, but not among the manifest's allowed_hosts"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn trap_08_the_next_link_of_a_post_is_posted_with_the_same_body() {
    // A GET there answers 405; a body without the page size is another question.
    let paginator = "{type: json_link, next_url_path: /next, page_size: 2, page_size_body_path: /size}";
    let manifest = manifest(paginator).replace("path: /orgs", "path: /orgs, method: POST, body: {filter: all}");
    let pages = vec![
        (String::new(), page(1..3, json!({"next": "https://api.example.com/v1/orgs?page=2"}))),
        ("2".to_owned(), page(3..4, json!({"next": null}))),
    ];
    let (result, system) = listed_from(pages, &manifest).await;
    assert_eq!(result.unwrap(), "1 2 3");
    for asked in system.asked() {
        assert_eq!((asked.method.as_str(), asked.json()), ("POST", json!({"filter": "all", "size": 2})));
    }
}

#[tokio::test]
async fn trap_09_a_page_without_a_new_record_is_an_error_even_if_none_counts() {
    // The system ignores the page; all it sends is filtered out, so only the raw records show it.
    let filtered = manifest(NUMBER).replace("mapping:", "record_filter: [{path: /id, in: [99]}], mapping:");
    for manifest in [manifest(NUMBER), filtered] {
        let pages = ["1", "2", "3"].map(|number| (number.to_owned(), page(1..3, json!({})))).to_vec();
        let (result, system) = listed_from(pages, &manifest).await;
        insta::allow_duplicates!(insta::assert_snapshot!(
            result.unwrap_err(),
            @"the list cannot be read to its end: a page holds only what was read already: the list does not advance"
        ));
        assert_eq!(system.asked().len(), 2);
    }
}

#[tokio::test]
async fn trap_10_a_redirect_is_followed_inside_allowed_hosts_and_authenticated_anew() {
    // The client below drops credentials at another host; the manifest says where they may go.
    let system = System::start(|asked| match asked.host.as_str() {
        "api.example.com" => Reply::text("").status(308).header("location", "https://n7.example.com/v1/orgs"),
        _ => Reply::json(&page(1..2, json!({}))),
    })
    .await;
    let text = manifest("{type: single_page}").replace("{type: none}", "{type: bearer, token: opensesame}");
    let open = text.replace("auth:", "allowed_hosts: ['*.example.com'], auth:");
    assert_eq!(ids(&Subject::new(&open, &[], &system).list().await.unwrap()), ["1"]);
    assert_eq!(system.asked().last().unwrap().header("authorization"), Some("Bearer opensesame"));
    let refused = Subject::new(&text, &[], &system).list().await.unwrap_err();
    assert!(refused.message.contains("n7.example.com is linked to"), "{refused}");
    assert_eq!(system.asked().len(), 3);
}

#[tokio::test]
async fn counts_that_are_wrong() {
    let with = |ids, key: &str, value: Value| page(ids, json!({key: value}));
    let total = |ids, value: Value| with(ids, "total", value);
    let pages = |ids, value: Value| with(ids, "pages", value);
    table(&[
        ("total as text", TOTAL, &[("1", total(1..3, json!(" 3 "))), ("2", total(3..4, json!("3")))], "1 2 3"),
        ("total 0", TOTAL, &[("1", total(1..3, json!(0))), ("2", total(0..0, json!(0)))], "1 2"),
        ("no total", TOTAL, &[("1", total(1..3, json!(null))), ("2", total(0..0, json!(null)))], "1 2"),
        ("total -1", OFFSET, &[("0", total(1..3, json!(-1))), ("2", total(0..0, json!(-1)))], "1 2"),
        ("total only first", TOTAL, &[("1", total(1..3, json!(3))), ("2", page(3..4, json!({})))], "1 2 3"),
        (
            "too much",
            TOTAL,
            &[
                ("1", total(1..3, json!(9))),
                ("2", total(0..0, json!(9))),
                ("3", json!({})),
                ("4", json!({})),
                ("5", json!({})),
            ],
            "! 9 organizations are announced, but the list ends after 2",
        ),
        ("total grows", TOTAL, &[("1", total(1..3, json!(3))), ("2", total(3..5, json!(4)))], "1 2 3 4"),
        (
            "total falls",
            TOTAL,
            &[("1", total(1..3, json!(4))), ("2", total(4..5, json!(3)))],
            "! first 4 organizations were announced, then 3",
        ),
        (
            "one inserted",
            TOTAL,
            &[("1", total(1..3, json!(4))), ("2", total(2..4, json!(5))), ("3", total(4..5, json!(5)))],
            "1 2 3 4",
        ),
        (
            "repeated in the end",
            TOTAL,
            &[("1", total(1..3, json!(4))), ("2", total(2..4, json!(4)))],
            "! 4 organizations are announced, but only 3 different ones came",
        ),
        (
            "pages 0",
            PAGES,
            &[("1", pages(1..3, json!(0))), ("2", pages(3..4, json!(0))), ("3", pages(0..0, json!(0)))],
            "1 2 3",
        ),
        ("no pages", PAGES, &[("1", pages(1..3, json!(null))), ("2", pages(0..0, json!(null)))], "1 2"),
        ("pages as text", PAGES, &[("1", pages(1..3, json!("2"))), ("2", pages(3..4, json!("2")))], "1 2 3"),
        (
            "pages only first",
            PAGES,
            &[("1", pages(1..3, json!(3))), ("2", page(0..0, json!({}))), ("3", json!({}))],
            "! 3 pages are announced, but page 2 is empty",
        ),
        (
            "last page empty",
            PAGES,
            &[("1", pages(1..3, json!(2))), ("2", pages(0..0, json!(2)))],
            "! 2 pages are announced, but page 2 is empty",
        ),
        (
            "pages fall",
            PAGES,
            &[("1", pages(1..3, json!(3))), ("2", pages(3..5, json!(2))), ("3", json!({}))],
            "! first 3 pages were announced, then 2",
        ),
        (
            "pages grow",
            PAGES,
            &[("1", pages(1..3, json!(2))), ("2", pages(3..5, json!(3))), ("3", pages(5..6, json!(3)))],
            "1 2 3 4 5",
        ),
        ("empty, one page", PAGES, &[("1", pages(0..0, json!(1)))], ""),
        ("empty, no page", PAGES, &[("1", pages(0..0, json!(0)))], ""),
        ("empty, but pages", PAGES, &[("1", pages(0..0, json!(2)))], "! 2 pages are announced, but page 1 is empty"),
        ("10,001 pages", PAGES, &[("1", pages(1..3, json!(10_001)))], "! it has 10001 pages, more than 10000"),
        (
            "moved, uncounted",
            NUMBER,
            &[("1", page(1..4, json!({}))), ("2", page(3..5, json!({}))), ("3", json!({"data": []}))],
            "! 1 organizations came again on a later page",
        ),
        (
            "twice on one page",
            NUMBER,
            &[("1", json!({"data": [{"id": 1}, {"id": "1"}, {"id": 2}]})), ("2", json!({}))],
            "1 2",
        ),
    ])
    .await;
}

#[tokio::test]
async fn more_and_cursors_that_are_wrong() {
    let more = |ids, more: Value, next: Value| page(ids, json!({"more": more, "next": next}));
    table(&[
        (
            "more",
            MORE,
            &[("1", more(1..3, json!(true), json!(null))), ("2", more(3..4, json!(false), json!(null)))],
            "1 2 3",
        ),
        (
            "more, yet empty",
            MORE,
            &[("1", more(1..3, json!(true), json!(null))), ("2", more(0..0, json!(true), json!(null)))],
            "! more organizations are announced, but a page is empty",
        ),
        ("more is no truth value", MORE, &[("1", more(1..3, json!("no"), json!(null))), ("2", json!({}))], "1 2"),
        ("false with a cursor", CURSOR_MORE, &[("", more(1..3, json!(false), json!("a")))], "1 2"),
        (
            "more without a cursor",
            CURSOR_MORE,
            &[("", more(1..3, json!(true), json!(null)))],
            "! more organizations are announced, but not where they are",
        ),
        (
            "empty in the middle",
            CURSOR,
            &[
                ("", more(1..3, json!(0), json!("a"))),
                ("a", more(0..0, json!(0), json!("b"))),
                ("b", more(3..4, json!(0), json!(null))),
            ],
            "1 2 3",
        ),
        (
            "empty in the middle, linked",
            LINK,
            &[
                ("", more(1..3, json!(0), json!("?page=a"))),
                ("a", more(0..0, json!(0), json!("?page=b"))),
                ("b", more(3..4, json!(0), json!(null))),
            ],
            "1 2 3",
        ),
        (
            "circle of cursors",
            CURSOR,
            &[
                ("", more(1..3, json!(0), json!("a"))),
                ("a", more(3..4, json!(0), json!("b"))),
                ("b", more(4..5, json!(0), json!("a"))),
            ],
            "! the list runs in a circle",
        ),
        (
            "cursor of the last page is its own",
            CURSOR,
            &[("", more(1..3, json!(0), json!("a"))), ("a", more(3..4, json!(0), json!("a")))],
            "! the list runs in a circle",
        ),
        (
            "link to itself",
            LINK,
            &[("", more(1..3, json!(0), json!("?page=a"))), ("a", more(3..4, json!(0), json!("?page=a")))],
            "! the list runs in a circle",
        ),
        (
            "link to the beginning",
            LINK,
            &[("", more(1..3, json!(0), json!("/v1/orgs")))],
            "! the list runs in a circle",
        ),
        (
            "link of another type",
            LINK,
            &[("", more(1..3, json!(0), json!(7)))],
            "! the link to the next page at '/next' is no text",
        ),
        (
            "last record",
            LAST,
            &[("", page(0..2, json!({}))), ("1", page(2..3, json!({}))), ("2", json!({"data": []}))],
            "0 1 2",
        ),
        ("last record 0", LAST, &[("", json!({"data": [{"id": 5}, {"id": 0}]})), ("0", json!({"data": []}))], "5 0"),
        (
            "last record without it",
            LAST,
            &[("", json!({"data": [{"id": 5}, {"name": "x"}]}))],
            "! the last record of a page does not say where the next one begins",
        ),
        (
            "records overlap",
            LAST,
            &[("", page(1..3, json!({}))), ("2", page(2..4, json!({}))), ("3", json!({"data": []}))],
            "1 2 3",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_link_header_among_others() {
    let link = "<https://api.example.com/v1/orgs?page=1>; rel=\"first\", </v1/orgs?page=2&q=a,ü>; rel=\"next\"; title=\"a, b\"";
    let pages =
        [("", page(1..3, json!({"link": link}))), ("2", page(3..4, json!({"link": "</v1/orgs>; rel=\"first\""})))];
    assert_eq!(listed("{type: header_link}", &pages).await.unwrap(), "1 2 3");
}

#[tokio::test]
async fn growing_cursors_with_ever_the_same_or_no_records_end() {
    for (records, expected) in [(1..3, "does not advance"), (0..0, "more than 10 empty pages in a row name a next one")]
    {
        let count = AtomicUsize::new(0);
        let answer = move |_: &Asked| page(records.clone(), json!({"next": count.fetch_add(1, Ordering::Relaxed)}));
        let system = System::start(move |asked| Reply::json(&answer(asked))).await;
        let failure = Subject::new(&manifest(CURSOR), &[], &system).list().await.unwrap_err();
        assert!(failure.message.contains(expected), "{failure}");
        assert!(system.asked().len() <= 11);
    }
}

#[tokio::test]
async fn a_page_in_the_middle_that_fails_fails_the_list() {
    let system = System::start(|asked| match asked.number("page") {
        Some(2) => Reply::text("down").status(500),
        Some(page_number) => Reply::json(&page(page_number..page_number + 1, json!({"pages": 3}))),
        None => Reply::text("").status(418),
    })
    .await;
    let failure = Subject::new(&manifest(PAGES), &[], &system).list().await.unwrap_err();
    insta::assert_snapshot!(failure, @"GET api.example.com/v1/orgs: status 500: the system has a problem");
}

#[tokio::test]
async fn the_selector_may_be_missing_later_but_not_first() {
    let none = json!({"value": []});
    table(&[
        (
            "first",
            CURSOR,
            &[("", none.clone())],
            "! the answer has nothing at '/data', where the organizations should be",
        ),
        ("later", CURSOR, &[("", page(1..2, json!({"next": "a"}))), ("a", none.clone())], "1"),
        (
            "later, but announced",
            TOTAL,
            &[("1", page(1..2, json!({"total": 2}))), ("2", none)],
            "! 2 organizations are announced, but the list ends after 1",
        ),
        (
            "later, nothing at all",
            CURSOR,
            &[("", page(1..2, json!({"next": "a"}))), ("a", json!(null))],
            "! the answer has nothing at '/data'",
        ),
        ("an object", CURSOR, &[("", json!({"data": {"id": 1}}))], "! the answer has no array at '/data'"),
    ])
    .await;
}
