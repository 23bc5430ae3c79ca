//! Reading a whole list: page after page, or side by side where the first page tells how many there are.
//!
//! The list is complete and without duplicates, or it is an error: whatever a system does, what is not sure to be all of it
//! is never shown as all of it.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use futures::{StreamExt, future::BoxFuture, stream};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{
    call::{Body, Call},
    connection::{Connection, Purpose},
    paginator::{self, Page, Place, Progress, incomplete},
    records,
    scope::Scope,
};
use crate::{
    domain::ExternalOrganization,
    integrations::{
        Failure,
        manifest::{Hydrate, ListOrganizations, Paginator},
    },
};

/// More pages than any list has: with 100 organizations a page, a million.
pub const MAX_PAGES: u64 = 10_000;

/// Most different records, with those that do not count.
const MAX_RECORDS: usize = 1_000_000;

/// Most characters, in bytes, of all that is kept of a list: half a million organizations. A page alone has its bound, but
/// 10,000 of them, or metadata that is a whole document, would take all memory.
const MOST_KEPT: usize = 64 * 1024 * 1024;

/// # Errors
/// A request failed, or the list is not sure to be complete.
pub async fn organizations(
    connection: &Connection,
    list: &ListOrganizations,
    deadline: Instant,
) -> Result<Vec<ExternalOrganization>, Failure> {
    let mut known = HashSet::new();
    let mut organizations = Vec::new();
    let mut room = Room(MOST_KEPT);
    // Each record as it comes: all of them at once would take ten times the memory of what is kept.
    let mut keep = |record: &Value| {
        if records::counts(record, &list.record_filter) {
            let organization = records::organization(record, &list.mapping)?;
            if known.insert(organization.id.clone()) {
                let metadata = organization.metadata.iter().map(|(key, value)| key.len() + value.to_string().len());
                room.take(organization.id.as_str().len() + organization.name.len() + metadata.sum::<usize>())?;
                organizations.push(organization);
            }
        }
        Ok(())
    };
    match &list.hydrate {
        None => each(connection, list, deadline, |record| keep(&record)).await?,
        Some(hydrate) => {
            let (mut ids, mut room) = (Vec::new(), Room(MOST_KEPT));
            let collect = |id: Value| {
                room.take(id.to_string().len())?;
                ids.push(id);
                Ok(())
            };
            each(connection, list, deadline, collect).await?;
            details(connection, list, hydrate, &ids, deadline, keep).await?;
        }
    }
    Ok(organizations)
}

/// What may still be kept.
struct Room(usize);

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), Failure> {
        self.0 = self.0.checked_sub(bytes).ok_or_else(|| incomplete(format!("it has more than {MOST_KEPT} bytes")))?;
        Ok(())
    }
}

/// Hands on all different records, as they come.
async fn each(
    connection: &Connection,
    list: &ListOrganizations,
    deadline: Instant,
    mut take: impl FnMut(Value) -> Result<(), Failure> + Send,
) -> Result<(), Failure> {
    let allowed = &connection.manifest.allowed_hosts;
    let fetch = |place| page(connection, list, deadline, place);
    let (mut ahead, mut predicted) = (stream::empty().boxed(), Vec::new().into_iter());
    let mut progress = Progress::default();
    // Identity of every record, as a hash since it may be a whole record → number of the page that it came on first.
    let mut seen = HashMap::new();
    let mut moved = 0_u64;
    let mut place = Place::First;
    loop {
        // A page that was fetched before its turn, if it is the right one; what was predicted decides nothing.
        let page = if place != Place::First && predicted.next().as_ref() == Some(&place) {
            ahead.next().await.ok_or_else(|| incomplete("a page was lost"))??
        } else {
            predicted = Vec::new().into_iter();
            // Nobody waits for those under way any more, but they would keep their turns.
            ahead = stream::empty().boxed();
            fetch(place.clone()).await?
        };
        progress.pages += 1;
        progress.received += page.records.len() as u64;
        let next = paginator::next(&list.paginator, &place, &page, &mut progress, allowed)?;
        if place == Place::First && next.is_some() {
            let places = paginator::predicted(&list.paginator, &page);
            predicted = places.clone().into_iter();
            ahead = stream::iter(places).map(fetch).buffered(connection.pace.concurrency()).boxed();
        }
        let (before, empty) = (seen.len(), page.records.is_empty());
        for record in page.records {
            match seen.entry(hashed(&records::identity(&record, &list.mapping))) {
                Entry::Vacant(entry) => {
                    entry.insert(progress.pages);
                    take(record)?;
                }
                Entry::Occupied(entry) if *entry.get() < progress.pages => moved += 1,
                Entry::Occupied(_) => {}
            }
        }
        if seen.len() > MAX_RECORDS {
            return Err(incomplete(format!("it has more than {MAX_RECORDS} records")));
        }
        // Judged by all records, not by those that count: a repeated page of others would go round for ever.
        if !empty && seen.len() == before {
            return Err(incomplete("a page holds only what was read already: the list does not advance"));
        }
        match next {
            Some(_) if progress.pages >= MAX_PAGES => {
                return Err(incomplete(format!("it has more than {MAX_PAGES} pages")));
            }
            Some(next) => place = next,
            None => break,
        }
    }
    if let Some(announced) = progress.announced
        && (seen.len() as u64) < announced
    {
        return Err(incomplete(format!(
            "{announced} organizations are announced, but only {} different ones came; the list may have changed \
             meanwhile, try again",
            seen.len()
        )));
    }
    // Pages are cut by position: what moved to a later one may have let something else slip to an earlier one, which only a
    // count of all would show.
    let by_position = matches!(list.paginator, Paginator::PageNumber { .. } | Paginator::Offset { .. });
    if by_position && moved > 0 && progress.announced.is_none() {
        return Err(incomplete(format!(
            "{moved} organizations came again on a later page: the list changed meanwhile or has no fixed order, so that \
             others may have been skipped; try again"
        )));
    }
    Ok(())
}

fn page<'a>(
    connection: &'a Connection,
    list: &'a ListOrganizations,
    deadline: Instant,
    place: Place,
) -> BoxFuture<'a, Result<Page, Failure>> {
    Box::pin(async move {
        let make = |scope: &Scope<'_>| {
            let mut call = Call::of(&list.request, &connection.manifest.base_url, scope)?;
            paginator::place(&list.paginator, &place, &mut call)?;
            Ok(call)
        };
        let mut answer = connection.request(Purpose::general(deadline), &make).await?;
        let decoder = connection.manifest.decoder;
        let records = if answer.ignored {
            Vec::new()
        } else {
            records::select(&answer.body, &list.record_selector, decoder, place == Place::First)?.to_vec()
        };
        // They would be there twice while the page waits for its turn.
        if let Some(place) = answer.body.pointer_mut(list.record_selector.as_str()) {
            place.take();
        }
        Ok(Page { asked: answer.asked, url: answer.url, headers: answer.headers, body: answer.body, records })
    })
}

fn hashed(identity: &str) -> [u8; 32] {
    Sha256::digest(identity).into()
}

/// The details of organizations that the list has only ids of, batch after batch.
async fn details(
    connection: &Connection,
    list: &ListOrganizations,
    hydrate: &Hydrate,
    ids: &[Value],
    deadline: Instant,
    mut keep: impl FnMut(&Value) -> Result<(), Failure> + Send,
) -> Result<(), Failure> {
    let batches: Vec<_> = ids.chunks(hydrate.batch_size.max(1) as usize).map(<[Value]>::to_vec).collect();
    let batches = stream::iter(batches).map(|ids| batch(connection, list, hydrate, ids, deadline));
    let mut batches = batches.buffered(connection.pace.concurrency()).boxed();
    while let Some(records) = batches.next().await {
        records?.iter().try_for_each(&mut keep)?;
    }
    Ok(())
}

fn batch<'a>(
    connection: &'a Connection,
    list: &'a ListOrganizations,
    hydrate: &'a Hydrate,
    ids: Vec<Value>,
    deadline: Instant,
) -> BoxFuture<'a, Result<Vec<Value>, Failure>> {
    Box::pin(async move {
        let make = |scope: &Scope<'_>| {
            let mut call = Call::of(&hydrate.request, &connection.manifest.base_url, scope)?;
            let body = call.body.get_or_insert(Body::Json(Value::Null));
            if let Body::Json(body) = body {
                hydrate.ids_body_path.set(body, Value::Array(ids.clone())).map_err(incomplete)?;
            }
            Ok(call)
        };
        let answer = connection.request(Purpose::general(deadline), &make).await?;
        let records = records::select(&answer.body, &hydrate.record_selector, connection.manifest.decoder, true)?;
        let identity = |record: &Value| records::identity(record, &list.mapping);
        let asked: HashSet<_> = ids.iter().map(identity).collect();
        // Others are not in the list.
        let records: Vec<_> = records.iter().filter(|record| asked.contains(&identity(record))).cloned().collect();
        let known: HashSet<_> = records.iter().map(identity).collect();
        let missing = asked.difference(&known).count();
        if missing > 0 {
            return Err(incomplete(format!("{missing} of {} organizations have no details", ids.len())));
        }
        Ok(records)
    })
}
