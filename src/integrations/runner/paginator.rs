//! How a list goes on: from one page and its place to the place of the next one, or to the end.
//!
//! Only what a system announces, or an empty page, ends a list. A short page never does: servers cap the size of pages.

use std::collections::HashSet;

use reqwest::header::{HeaderMap, LINK};
use serde_json::{Value, json};
use url::Url;

use super::{address, call::Call, list::MAX_PAGES};
use crate::integrations::{
    Failure, FailureClass,
    manifest::{HostPattern, Paginator, Pointer},
};

/// Empty pages in a row that still name a next one.
const EMPTY_PAGES: usize = 10;

/// Where a page begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    First,
    Number(u64),
    Offset(u64),
    Cursor(Value),
    Link(Url),
}

/// A page as it was received.
#[derive(Debug)]
pub struct Page {
    /// What was asked.
    pub asked: Url,
    /// What answered, which its links are relative to.
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Value,
    pub records: Vec<Value>,
}

/// How far the list has come.
#[derive(Default)]
pub struct Progress {
    /// Records so far, with those that did not count.
    pub received: u64,
    pub pages: u64,
    /// What the first page with a count announced: later ones may count organizations made meanwhile.
    pub announced: Option<u64>,
    announced_pages: Option<u64>,
    empty: usize,
    seen: HashSet<String>,
}

/// Puts the place into the request.
pub fn place(paginator: &Paginator, place: &Place, call: &mut Call) -> Result<(), Failure> {
    let (size, mut size_param, size_body_path) = page_size(paginator);
    if let Place::Link(url) = place {
        // The link says everything that an address can say; a POST goes there with the same body.
        call.url = url.clone();
        size_param = None;
    }
    if let Some(size) = size {
        put(call, size_param, size_body_path, json!(size))?;
    }
    match (paginator, place) {
        (Paginator::PageNumber { page_param, page_body_path, start_page, .. }, place) => {
            let number = if let Place::Number(number) = place { *number } else { u64::from(*start_page) };
            put(call, page_param.as_ref(), page_body_path.as_ref(), json!(number))
        }
        (Paginator::Offset { offset_param, offset_body_path, .. }, place) => {
            let offset = if let Place::Offset(offset) = place { *offset } else { 0 };
            put(call, offset_param.as_ref(), offset_body_path.as_ref(), json!(offset))
        }
        (Paginator::Cursor { cursor_param, cursor_body_path, .. }, Place::Cursor(cursor)) => {
            put(call, cursor_param.as_ref(), cursor_body_path.as_ref(), cursor.clone())
        }
        _ => Ok(()),
    }
}

type PageSize<'a> = (Option<u32>, Option<&'a String>, Option<&'a Pointer>);

fn page_size(paginator: &Paginator) -> PageSize<'_> {
    match paginator {
        Paginator::SinglePage {} => (None, None, None),
        Paginator::PageNumber { page_size, page_size_param, page_size_body_path, .. }
        | Paginator::Offset { page_size, page_size_param, page_size_body_path, .. }
        | Paginator::Cursor { page_size, page_size_param, page_size_body_path, .. }
        | Paginator::JsonLink { page_size, page_size_param, page_size_body_path, .. } => {
            (*page_size, page_size_param.as_ref(), page_size_body_path.as_ref())
        }
        Paginator::HeaderLink { page_size, page_size_param } => (*page_size, page_size_param.as_ref(), None),
    }
}

fn put(call: &mut Call, param: Option<&String>, body_path: Option<&Pointer>, value: Value) -> Result<(), Failure> {
    if let Some(name) = param {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        call.url.query_pairs_mut().append_pair(name, &text);
    }
    if let Some(pointer) = body_path {
        pointer.set(call.json_body()?, value).map_err(|problem| Failure::new(FailureClass::Configuration, problem))?;
    }
    Ok(())
}

/// Where the list goes on after `page`; none at its end. `progress` counts that page already.
pub fn next(
    paginator: &Paginator,
    place: &Place,
    page: &Page,
    progress: &mut Progress,
    allowed: &[HostPattern],
) -> Result<Option<Place>, Failure> {
    let empty = page.records.is_empty();
    let more = |path: &Option<Pointer>| path.as_ref().and_then(|path| path.find(&page.body)).and_then(Value::as_bool);
    match paginator {
        Paginator::SinglePage {} => Ok(None),
        Paginator::PageNumber { start_page, total_pages_path, total_path, has_more_path, .. } => {
            let number = if let Place::Number(number) = place { *number } else { u64::from(*start_page) };
            let next = Some(Place::Number(number + 1));
            let read = (number + 1).saturating_sub(u64::from(*start_page));
            if let Some(pages) = announced_pages(total_pages_path.as_ref(), read, page, progress)? {
                // An empty list may have one page or none.
                return match (pages == read, empty) {
                    (_, true) if pages > 1 => {
                        Err(incomplete(format!("{pages} pages are announced, but page {number} is empty")))
                    }
                    (true, _) => Ok(None),
                    (false, _) => Ok(next),
                };
            }
            Ok(counted(total_path.as_ref(), more(has_more_path), page, progress)?.and(next))
        }
        Paginator::Offset { total_path, has_more_path, .. } => {
            Ok(counted(total_path.as_ref(), more(has_more_path), page, progress)?
                .and(Some(Place::Offset(progress.received))))
        }
        Paginator::Cursor { cursor_path, last_record_path, has_more_path, .. } => {
            let more = more(has_more_path);
            let cursor = match (cursor_path, last_record_path) {
                (Some(path), _) => path.find(&page.body).filter(|cursor| is_cursor(cursor)),
                (None, Some(path)) => page.records.last().and_then(|record| path.find_value(record)),
                (None, None) => None,
            };
            match (more, cursor) {
                (Some(true), None) => Err(incomplete("more organizations are announced, but not where they are")),
                (None, None) if !empty && last_record_path.is_some() => {
                    Err(incomplete("the last record of a page does not say where the next one begins"))
                }
                (Some(false), _) | (None, None) => Ok(None),
                (_, Some(cursor)) => {
                    let place = Place::Cursor(cursor.clone());
                    onward(place, cursor.to_string(), empty, progress)
                }
            }
        }
        Paginator::JsonLink { next_url_path, .. } => match next_url_path.find_value(&page.body) {
            None => Ok(None),
            Some(Value::String(link)) if link.is_empty() => Ok(None),
            Some(Value::String(link)) => linked(link, empty, page, progress, allowed),
            Some(_) => Err(incomplete(format!("the link to the next page at '{next_url_path}' is no text"))),
        },
        Paginator::HeaderLink { .. } => match next_link(&page.headers)? {
            None => Ok(None),
            Some(link) => linked(&link, empty, page, progress, allowed),
        },
    }
}

/// `Some` if there is more. What is announced decides; without it, only an empty page is the end.
fn counted(
    total: Option<&Pointer>,
    more: Option<bool>,
    page: &Page,
    progress: &mut Progress,
) -> Result<Option<()>, Failure> {
    let empty = page.records.is_empty();
    // Fewer than were received already is no count of all records.
    let total = announced(total, page).filter(|total| *total >= progress.received);
    if let Some(total) = total {
        fallen(progress.announced, total, "organizations")?;
        progress.announced.get_or_insert(total);
    }
    let total = total.or(progress.announced).filter(|total| *total >= progress.received);
    match (total, more) {
        (Some(total), _) if progress.received == total => Ok(None),
        (Some(total), _) if empty => Err(incomplete(format!(
            "{total} organizations are announced, but the list ends after {}",
            progress.received
        ))),
        (None, Some(false)) => Ok(None),
        (None, Some(true)) if empty => Err(incomplete("more organizations are announced, but a page is empty")),
        (None, None) if empty => Ok(None),
        _ => Ok(Some(())),
    }
}

/// How many pages there are, by this page or an earlier one; `read` of them were read.
fn announced_pages(
    path: Option<&Pointer>,
    read: u64,
    page: &Page,
    progress: &mut Progress,
) -> Result<Option<u64>, Failure> {
    // Fewer than were read already is no count of all pages.
    let pages = announced(path, page).filter(|pages| *pages >= read);
    if let Some(pages) = pages {
        fallen(progress.announced_pages, pages, "pages")?;
        progress.announced_pages = Some(pages);
    }
    let pages = progress.announced_pages.filter(|pages| *pages >= read);
    match pages {
        Some(pages) if pages > MAX_PAGES => Err(incomplete(format!("it has {pages} pages, more than {MAX_PAGES}"))),
        pages => Ok(pages),
    }
}

/// Where one is removed, all after it move up: the first one of the next page has moved to the one that was read already.
fn fallen(before: Option<u64>, now: u64, what: &str) -> Result<(), Failure> {
    match before {
        Some(before) if now < before => Err(incomplete(format!(
            "first {before} {what} were announced, then {now}: some were removed meanwhile, and others may have been \
             skipped; try again"
        ))),
        _ => Ok(()),
    }
}

fn announced(path: Option<&Pointer>, page: &Page) -> Option<u64> {
    let value = path?.find_value(&page.body)?;
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// `0` is a cursor; null, false and nothing are none.
fn is_cursor(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

fn linked(
    link: &str,
    empty: bool,
    page: &Page,
    progress: &mut Progress,
    allowed: &[HostPattern],
) -> Result<Option<Place>, Failure> {
    let url = address::follow(&page.url, link, &page.asked, allowed)?;
    let key = url.to_string();
    onward(Place::Link(url), key, empty, progress)
}

/// Goes to a place that was named by the system, unless the list has been there.
fn onward(place: Place, key: String, empty: bool, progress: &mut Progress) -> Result<Option<Place>, Failure> {
    progress.empty = if empty { progress.empty + 1 } else { 0 };
    if progress.seen.insert(key) {
        if progress.empty > EMPTY_PAGES {
            return Err(incomplete(format!("more than {EMPTY_PAGES} empty pages in a row name a next one")));
        }
        return Ok(Some(place));
    }
    // An empty page that names the same place again says that there is nothing more.
    if empty {
        Ok(None)
    } else {
        Err(incomplete("a page names a next one that was read already: the list runs in a circle"))
    }
}

/// Where later pages probably are, so that they can be fetched before their turn; none where only a page tells.
pub fn predicted(paginator: &Paginator, first: &Page) -> Vec<Place> {
    let size = first.records.len() as u64;
    if size == 0 {
        return Vec::new();
    }
    match paginator {
        Paginator::PageNumber { start_page, total_pages_path, total_path, .. } => {
            let pages = announced(total_pages_path.as_ref(), first)
                .or_else(|| announced(total_path.as_ref(), first).map(|total| total.div_ceil(size)));
            let start = u64::from(*start_page);
            (1..pages.unwrap_or(1).min(MAX_PAGES)).map(|page| Place::Number(start + page)).collect()
        }
        Paginator::Offset { total_path, .. } => {
            let total = announced(total_path.as_ref(), first).unwrap_or(0);
            let pages = total.div_ceil(size).min(MAX_PAGES);
            (1..pages).map(|page| Place::Offset(page * size)).collect()
        }
        _ => Vec::new(),
    }
}

/// The `next` of RFC 8288 `Link` headers.
fn next_link(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    for value in headers.get_all(LINK) {
        // Not all of them write an address in ASCII; one that is skipped would end the list too early.
        let text = String::from_utf8_lossy(value.as_bytes());
        let mut rest = text.as_ref();
        // Targets are in angle brackets, and may hold the comma that separates links.
        while let Some((target, after)) = rest.split_once('<').and_then(|(_, after)| after.split_once('>')) {
            let (parameters, others) = after.split_at(unquoted(after, &[',']).next().unwrap_or(after.len()));
            if is_next(parameters) && !target.is_empty() {
                return Ok(Some(target.to_owned()));
            }
            rest = others;
        }
        if is_next(rest) || unquoted(rest, &['<']).next().is_some() {
            return Err(incomplete("the Link header of a page cannot be read"));
        }
    }
    Ok(None)
}

/// Whether the first `rel` among the parameters, the only one that counts, has `next` in it.
fn is_next(parameters: &str) -> bool {
    let ends = unquoted(parameters, &[';']).chain([parameters.len()]);
    let mut begin = 0;
    let mut parameters = ends.map(|end| {
        let parameter = parameters[begin..end].trim_start_matches(';');
        begin = end;
        parameter.split_once('=').unwrap_or((parameter, ""))
    });
    parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("rel")).is_some_and(|(_, value)| {
        let relations = value.trim().trim_matches('"').split_ascii_whitespace();
        relations.into_iter().any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

/// Where those characters are that are in no quotation marks.
fn unquoted<'a>(text: &'a str, wanted: &'a [char]) -> impl Iterator<Item = usize> + 'a {
    let (mut quoted, mut escaped) = (false, false);
    text.char_indices().filter_map(move |(at, c)| {
        let was_escaped = std::mem::take(&mut escaped);
        match c {
            '\\' if quoted && !was_escaped => escaped = true,
            // One that is never closed is none: what follows would be overlooked.
            '"' if !was_escaped => quoted = !quoted && ends_quote(&text[at + 1..]),
            c if !quoted && wanted.contains(&c) => return Some(at),
            _ => {}
        }
        None
    })
}

/// Whether there is a quotation mark that is not escaped.
fn ends_quote(text: &str) -> bool {
    let mut escaped = false;
    text.chars().any(|c| {
        let was_escaped = std::mem::take(&mut escaped);
        escaped = c == '\\' && !was_escaped;
        c == '"' && !was_escaped
    })
}

/// The list cannot be complete.
pub fn incomplete(reason: impl std::fmt::Display) -> Failure {
    Failure::new(FailureClass::BadResponse, format!("the list cannot be read to its end: {reason}"))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn link_headers_are_written_in_many_ways() {
        let next = |texts: &[&str]| {
            let mut headers = HeaderMap::new();
            for text in texts {
                headers.append(LINK, HeaderValue::from_bytes(text.as_bytes()).unwrap());
            }
            next_link(&headers).map_err(drop)
        };
        assert_eq!(
            next(&["<https://a/?p=2,3>; rel=\"next\", <https://a/?p=9>; rel=\"last\""]).unwrap().unwrap(),
            "https://a/?p=2,3"
        );
        assert_eq!(next(&["<a>; rel=first, <b>; title=\"x\"; rel=next"]).unwrap().unwrap(), "b");
        assert_eq!(next(&["<https://a/?q=Zürich&p=2>; rel=next"]).unwrap().unwrap(), "https://a/?q=Zürich&p=2");
        assert_eq!(next(&["<a>; rel=\"prev\"", "<b>; REL=\"last next\""]).unwrap().unwrap(), "b");
        for (text, target) in [
            ("<a>; title=\"x<y\"; rel=\"next\"", "a"),
            ("<a>; title=\"x, <y>; z\"; rel=next", "a"),
            ("<a>; title=\"\\\"; rel=prev\"; rel=next", "a"),
            ("<a>; title=\"; rel=next\"; rel=prev, <b>; rel=next", "b"),
            ("<a>; rel=prev; rel=next, <b>;rel = \"NEXT\"", "b"),
            ("<a>; title=\"x, <b>; rel=next", "b"),
            ("<a>; title=\"x\\\"; rel=next", "a"),
            ("<a>;;rel=next,", "a"),
        ] {
            assert_eq!(next(&[text]).unwrap().as_deref(), Some(target), "{text}");
        }
        for none in ["", " ", ",", "<a>; rel=prev", "<a>; rel=prev,", "<>; rel=next", "none"] {
            assert_eq!(next(&[none]), Ok(None), "{none}");
        }
        assert_eq!(next(&[]), Ok(None));
        for broken in ["<a; rel=next", "<a", "; rel=next", "<a>; rel=prev, <b"] {
            assert_eq!(next(&[broken]), Err(()), "{broken}");
        }
    }
}
