//! Any list of any system: a well-behaved one is read completely and in order; a misbehaving one as well, or it is an error.

use std::{
    collections::{BTreeSet, HashSet},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use proptest::{
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use crate::{
    paging::{ids, manifest},
    subject::Subject,
    system::{Asked, Reply, System},
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Single,
    PageInQuery,
    PageInBody,
    Offset,
    Cursor,
    CursorInBody,
    LastRecord,
    AbsoluteLink,
    RelativeLink,
    HeaderLink,
}

use Kind::{
    AbsoluteLink, Cursor, CursorInBody, HeaderLink, LastRecord, Offset, PageInBody, PageInQuery, RelativeLink, Single,
};

/// How the system says how much there is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Announce {
    Nothing,
    Pages,
    Items,
    ItemsAsText,
    More,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    None,
    /// The third answer holds the first page.
    RepeatPage,
    /// The second page is empty.
    DropPage,
    /// Pages are longer, or shorter, from the second request on.
    LongerPages,
    ShorterPages,
    /// One page and three organizations more than there are.
    TooMany,
    /// After the last page comes the first one again.
    Loop,
    /// An organization is made, or removed, after the first request; it is the first of the list.
    Insert,
    Delete,
    /// Another order in every answer.
    Unstable,
}

#[derive(Clone, Debug)]
struct Model {
    kind: Kind,
    announce: Announce,
    start: usize,
    records: usize,
    /// Pages that the longest list has; keeps cases short.
    pages: usize,
    /// What the manifest asks for, in relation to what the system caps its pages at.
    asked: Option<usize>,
    lie: Lie,
}

impl Model {
    fn by_position(&self) -> bool {
        matches!(self.kind, PageInQuery | PageInBody | Offset)
    }

    fn by_number(&self) -> bool {
        matches!(self.kind, PageInQuery | PageInBody)
    }

    /// Only lists by position announce a count.
    fn counts(&self) -> bool {
        self.by_position() && matches!(self.announce, Announce::Items | Announce::ItemsAsText)
    }

    fn cap(&self) -> usize {
        self.records / self.pages + 1
    }

    /// Whether what the system does wrong contradicts anything that it says. If not, nobody can tell the list from a right one.
    fn detectable(&self) -> bool {
        match self.lie {
            // The end that the system says, or what is empty without a word, is all there is to go by.
            Lie::DropPage => self.counts() || (self.by_number() && self.announce == Announce::Pages),
            // A number means another place when pages are longer: what is between is never shown. Counts of pages may agree.
            Lie::LongerPages => !self.by_number() || self.counts(),
            // What moves up to a page that was read is never seen again; only a count that falls tells. A list after the
            // last record does not move.
            Lie::Delete => self.counts() || matches!(self.kind, LastRecord | Single),
            // Where the places are the system's own business, so is their order.
            Lie::Unstable => self.by_position() || self.kind == Single,
            _ => true,
        }
    }

    fn manifest(&self) -> String {
        let mut paginator = match self.kind {
            Single => json!({"type": "single_page"}),
            PageInQuery => json!({"type": "page_number", "page_param": "page", "start_page": self.start}),
            PageInBody => json!({"type": "page_number", "page_body_path": "/page", "start_page": self.start}),
            Offset => json!({"type": "offset", "offset_param": "offset"}),
            Cursor => json!({"type": "cursor", "cursor_param": "after", "cursor_path": "/next"}),
            CursorInBody => json!({"type": "cursor", "cursor_body_path": "/after", "cursor_path": "/next"}),
            LastRecord => json!({"type": "cursor", "cursor_param": "after", "last_record_path": "/id"}),
            AbsoluteLink | RelativeLink => json!({"type": "json_link", "next_url_path": "/next"}),
            HeaderLink => json!({"type": "header_link"}),
        };
        let by_cursor = matches!(self.kind, Cursor | CursorInBody | LastRecord);
        match self.announce {
            Announce::Pages if self.by_number() => paginator["total_pages_path"] = json!("/pages"),
            Announce::Items | Announce::ItemsAsText if self.by_position() => paginator["total_path"] = json!("/total"),
            Announce::More if self.by_position() || by_cursor => paginator["has_more_path"] = json!("/more"),
            _ => {}
        }
        if let Some(asked) = self.asked
            && self.kind != Single
        {
            paginator["page_size"] = json!(asked);
            paginator["page_size_param"] = json!("size");
        }
        let text = manifest(&paginator.to_string());
        if matches!(self.kind, PageInBody | CursorInBody) {
            text.replace("path: /orgs", "path: /orgs, method: POST, body: {}")
        } else {
            text
        }
    }

    /// The list as it is when the `request`-th answer is made; organization 0 is the one that is made or removed.
    fn now(&self, request: usize) -> Vec<usize> {
        let mut list: Vec<_> = (1..=self.records).collect();
        match self.lie {
            Lie::Insert if request > 0 => list.insert(0, 0),
            Lie::Delete if request > 0 && !list.is_empty() => drop(list.remove(0)),
            // A different step of a fixed shuffle each time.
            Lie::Unstable => list.sort_by_key(|id| (id * 7919 + request * 104_729 * id) % 1009),
            _ => {}
        }
        list
    }

    fn answer(&self, request: usize, asked: &Asked) -> Reply {
        let list = self.now(request);
        let cap = match self.lie {
            Lie::LongerPages if request > 0 => self.cap() + 2,
            Lie::ShorterPages if request > 0 => self.cap().div_ceil(2),
            _ => self.cap(),
        };
        let size = if self.kind == Single { list.len().max(1) } else { asked.number("size").unwrap_or(cap).min(cap) };
        let mut at = self.place(&list, size, asked);
        if self.lie == Lie::Loop && at >= list.len() {
            at %= list.len().max(1);
        }
        if self.lie == Lie::RepeatPage && request == 2 {
            at = 0;
        }
        let mut shown: Vec<_> = list.iter().skip(at).take(size).copied().collect();
        let end = at + shown.len();
        if self.lie == Lie::DropPage && request == 1 {
            shown.clear();
        }
        let more = end < list.len() || self.lie == Lie::Loop;
        let next = if self.lie == Lie::Loop { end + request * 1000 * list.len().max(1) } else { end };
        let extra = if self.lie == Lie::TooMany { 3 } else { 0 };
        let total = list.len() + extra;
        let mut body = json!({
            "data": shown.iter().map(|id| json!({"id": id, "name": format!("Organization {id}")})).collect::<Vec<_>>(),
            "pages": list.len().div_ceil(size) + extra.min(1),
            "total": if self.announce == Announce::ItemsAsText { json!(total.to_string()) } else { json!(total) },
            "more": more,
        });
        let link = match self.kind {
            Cursor | CursorInBody => json!(next),
            AbsoluteLink => json!(format!("https://api.example.com/v1/orgs?at={next}&size={size}")),
            RelativeLink => json!(format!("?at={next}&size={size}")),
            _ => Value::Null,
        };
        if more {
            body["next"] = link;
        }
        // Pages that are asked for side by side arrive in any order.
        let reply = Reply::json(&body).after(Duration::from_millis((at * 7 % 4) as u64));
        match (self.kind, more) {
            (HeaderLink, true) => reply.header("link", &format!("</v1/orgs?at={next}&size={size}>; rel=\"next\"")),
            _ => reply,
        }
    }

    /// How many organizations come before what is asked for.
    fn place(&self, list: &[usize], size: usize, asked: &Asked) -> usize {
        let in_body = |name: &str| asked.json()[name].as_u64().and_then(|number| usize::try_from(number).ok());
        match self.kind {
            Single => 0,
            PageInQuery => (asked.number("page").unwrap() - self.start) * size,
            PageInBody => (in_body("page").unwrap() - self.start) * size,
            Offset => asked.number("offset").unwrap(),
            Cursor => asked.number("after").unwrap_or(0),
            CursorInBody => in_body("after").unwrap_or(0),
            LastRecord if self.lie == Lie::Unstable => asked
                .number("after")
                .and_then(|after| list.iter().position(|id| *id == after))
                .map_or(0, |index| index + 1),
            LastRecord => {
                let after = asked.number("after");
                list.iter().filter(|id| after.is_some_and(|after| **id <= after)).count()
            }
            AbsoluteLink | RelativeLink | HeaderLink => asked.number("at").unwrap_or(0),
        }
    }

    async fn holds(&self) -> Result<(), TestCaseError> {
        let requests = AtomicUsize::new(0);
        let model = self.clone();
        let system = System::start(move |asked| model.answer(requests.fetch_add(1, Ordering::Relaxed), asked)).await;
        let listed = Subject::new(&self.manifest(), &[], &system).list().await;
        let expected: Vec<_> = (1..=self.records).map(|id| id.to_string()).collect();
        let listed = match listed {
            Ok(listed) => ids(&listed),
            Err(failure) => {
                prop_assert!(self.lie != Lie::None, "a well-behaved system: {}", failure);
                prop_assert!(failure.message.contains("cannot be read to its end"), "{}", failure);
                return Ok(());
            }
        };
        let different: HashSet<_> = listed.iter().collect();
        prop_assert_eq!(different.len(), listed.len(), "duplicates");
        if !self.detectable() {
            prop_assert!(listed.iter().all(|id| id == "0" || expected.contains(id)));
        } else if self.lie == Lie::Unstable {
            let all: BTreeSet<_> = listed.iter().collect();
            prop_assert_eq!(all, expected.iter().collect::<BTreeSet<_>>());
        } else {
            prop_assert_eq!(listed, expected);
        }
        Ok(())
    }
}

fn models(lies: &'static [Lie]) -> impl Strategy<Value = Model> {
    let kind = select(vec![
        Single,
        PageInQuery,
        PageInBody,
        Offset,
        Cursor,
        CursorInBody,
        LastRecord,
        AbsoluteLink,
        RelativeLink,
        HeaderLink,
    ]);
    let announce =
        select(vec![Announce::Nothing, Announce::Pages, Announce::Items, Announce::ItemsAsText, Announce::More]);
    let records = prop_oneof![0_usize..4, 4_usize..250];
    let asked = prop_oneof![Just(None), (1_usize..300).prop_map(Some)];
    (kind, announce, 0_usize..2, records, 1_usize..12, asked, select(lies)).prop_map(
        |(kind, announce, start, records, pages, asked, lie)| {
            let cap = records / pages + 1;
            // Not so small that a case takes hundreds of requests.
            let asked = asked.map(|asked| asked.max(cap.div_ceil(3)));
            Model { kind, announce, start, records, pages, asked, lie }
        },
    )
}

fn check(cases: u32, lies: &'static [Lie]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner.run(&models(lies), |model| runtime.block_on(model.holds())).unwrap();
}

#[test]
fn a_well_behaved_list_is_read_completely_and_in_order() {
    check(200, &[Lie::None]);
}

#[test]
fn a_misbehaving_list_is_read_completely_or_not_at_all() {
    check(
        400,
        &[
            Lie::RepeatPage,
            Lie::DropPage,
            Lie::LongerPages,
            Lie::ShorterPages,
            Lie::TooMany,
            Lie::Loop,
            Lie::Insert,
            Lie::Delete,
            Lie::Unstable,
        ],
    );
}
