//! Rules about lists and answers: paginators, records, error handlers, rates.

use super::Check;
use crate::integrations::manifest::{
    GetOrganization, ListOrganizations, Manifest, Paginator, Pointer, RecordMapping, Reference, Template,
    document::join,
    places::{self, Moment},
};

const PAGINATOR: &str = "list_organizations.paginator";

impl Check<'_> {
    pub(super) fn lists(&mut self) {
        let Manifest { list_organizations, get_organization, check, .. } = self.manifest;
        match list_organizations {
            Some(list) => {
                self.paginator(list);
                self.records(list);
                if check.is_some() {
                    self.tell("check", "is never sent, since listing the organizations shows the same; leave it out");
                }
            }
            None if get_organization.is_none() && check.is_none() => {
                self.tell("", "nothing can be tested; give list_organizations, get_organization or check");
            }
            None => {}
        }
        if let Some(get) = get_organization {
            self.get_organization(get, list_organizations.is_some());
        }
    }

    fn get_organization(&mut self, get: &GetOrganization, listed: bool) {
        match &get.mapping {
            Some(mapping) => self.mapping("get_organization.mapping", mapping),
            None if !listed => {
                self.tell("get_organization", "needs a mapping, since there is no list whose mapping it could share");
            }
            None => {}
        }
        let asks = |template: &Template| {
            template
                .references()
                .any(|one| matches!(one, Reference::OrgId | Reference::OrgMetadata(_) | Reference::Mapping(_)))
        };
        let places = places::templates(self.manifest);
        // A login of the organization asks for it as well.
        let is_asked = |moment| matches!(moment, Moment::GetOrganization | Moment::Auth | Moment::Inject);
        if !places.iter().any(|place| is_asked(place.moment) && asks(place.template)) {
            let remedy = "use {{org.id}}, or leave get_organization out to search the list";
            self.tell("get_organization.request", format!("asks for no particular organization; {remedy}"));
        }
    }

    fn paginator(&mut self, list: &ListOrganizations) {
        match &list.paginator {
            Paginator::SinglePage {} => {}
            Paginator::PageNumber {
                page_param,
                page_body_path,
                start_page,
                page_size,
                page_size_param,
                page_size_body_path,
                total_pages_path,
                total_path,
                ..
            } => {
                self.position(list, ["page_param", "page_body_path"], page_param.as_deref(), page_body_path.as_ref());
                self.page_size(list, *page_size, page_size_param.as_deref(), page_size_body_path.as_ref());
                if *start_page > 1 {
                    self.tell(&join(PAGINATOR, "start_page"), format!("{start_page}; the first page is 0 or 1"));
                }
                if total_pages_path.is_some() && total_path.is_some() {
                    let totals = "has total_pages_path (pages) and total_path (records); leave one out";
                    self.tell(PAGINATOR, totals);
                }
            }
            Paginator::Offset {
                offset_param,
                offset_body_path,
                page_size,
                page_size_param,
                page_size_body_path,
                ..
            } => {
                let names = ["offset_param", "offset_body_path"];
                self.position(list, names, offset_param.as_deref(), offset_body_path.as_ref());
                self.page_size(list, *page_size, page_size_param.as_deref(), page_size_body_path.as_ref());
            }
            Paginator::Cursor {
                cursor_param,
                cursor_body_path,
                cursor_path,
                last_record_path,
                page_size,
                page_size_param,
                page_size_body_path,
                ..
            } => {
                let names = ["cursor_param", "cursor_body_path"];
                self.position(list, names, cursor_param.as_deref(), cursor_body_path.as_ref());
                let sources =
                    [("cursor_path", cursor_path.is_some()), ("last_record_path", last_record_path.is_some())];
                self.exactly_one(PAGINATOR, &sources);
                self.page_size(list, *page_size, page_size_param.as_deref(), page_size_body_path.as_ref());
            }
            Paginator::JsonLink { page_size, page_size_param, page_size_body_path, .. } => {
                self.page_size(list, *page_size, page_size_param.as_deref(), page_size_body_path.as_ref());
            }
            Paginator::HeaderLink { page_size, page_size_param } => {
                self.page_size(list, *page_size, page_size_param.as_deref(), None);
            }
        }
    }

    /// Where the place to go on at is put: a parameter or the body.
    fn position(&mut self, list: &ListOrganizations, names: [&str; 2], param: Option<&str>, body: Option<&Pointer>) {
        self.exactly_one(PAGINATOR, &[(names[0], param.is_some()), (names[1], body.is_some())]);
        self.put(list, names, param, body);
    }

    fn page_size(&mut self, list: &ListOrganizations, size: Option<u32>, param: Option<&str>, body: Option<&Pointer>) {
        let names = ["page_size_param", "page_size_body_path"];
        match size {
            Some(0) => self.tell(&join(PAGINATOR, "page_size"), "0; a page holds at least one record"),
            Some(_) if param.is_none() && body.is_none() => {
                self.tell(
                    &join(PAGINATOR, "page_size"),
                    "is never sent; say where with page_size_param, or leave it out",
                );
            }
            None if param.is_some() || body.is_some() => {
                self.tell(PAGINATOR, "says where page_size goes, but not how large a page is; add page_size");
            }
            Some(_) | None => {}
        }
        if param.is_some() && body.is_some() {
            self.exactly_one(PAGINATOR, &[(names[0], true), (names[1], true)]);
        }
        self.put(list, names, param, body);
    }

    fn put(&mut self, list: &ListOrganizations, names: [&str; 2], param: Option<&str>, body: Option<&Pointer>) {
        if let Some(param) = param.filter(|param| list.request.query.contains_key(*param)) {
            let at = join("list_organizations.request.query", param);
            self.tell(&at, format!("the paginator sends it (as {}); leave it out here", names[0]));
        }
        if body.is_some() {
            self.json_body(&join(PAGINATOR, names[1]), &list.request);
        }
    }

    fn records(&mut self, list: &ListOrganizations) {
        for (index, filter) in list.record_filter.iter().enumerate() {
            let at = format!("list_organizations.record_filter[{index}]");
            let choices = [
                ("in", filter.any_of.is_some()),
                ("not_in", filter.not_in.is_some()),
                ("is_null", filter.is_null.is_some()),
            ];
            self.exactly_one(&at, &choices);
            for (name, values) in [("in", &filter.any_of), ("not_in", &filter.not_in)] {
                if values.as_ref().is_some_and(Vec::is_empty) {
                    self.tell(&join(&at, name), "empty; name the values");
                }
            }
        }
        self.mapping("list_organizations.mapping", &list.mapping);
        if let Some(hydrate) = &list.hydrate {
            let at = "list_organizations.hydrate";
            self.json_body(&join(at, "ids_body_path"), &hydrate.request);
            if !(1..=5000).contains(&hydrate.batch_size) {
                self.tell(&join(at, "batch_size"), format!("{}; expected 1 to 5000", hydrate.batch_size));
            }
        }
    }

    fn mapping(&mut self, at: &str, mapping: &RecordMapping) {
        for (name, pointer) in &mapping.metadata {
            let key = pointer.as_str().to_lowercase().replace(['_', '-'], "");
            if ["password", "secret", "token", "apikey"].iter().any(|word| key.contains(word)) {
                let why = "looks like a credential; metadata is stored and shown to people: leave it out";
                self.tell(&format!("{at}.metadata.{name}"), format!("'{pointer}' {why}"));
            }
        }
    }

    pub(super) fn answers(&mut self) {
        for (index, filter) in self.manifest.error_handler.response_filters.iter().enumerate() {
            let at = format!("error_handler.response_filters[{index}]");
            if filter.http_codes.is_empty() && filter.path.is_none() {
                self.tell(&at, "fits every answer; give http_codes or path");
            }
            if filter.equals.is_some() && filter.path.is_none() {
                self.tell(&join(&at, "equals"), "needs path: what is to be equal");
            }
            for code in filter.http_codes.iter().filter(|code| !(100..=599).contains(*code)) {
                self.tell(&join(&at, "http_codes"), format!("{code} is no HTTP status; expected 100 to 599"));
            }
        }
        let rate = self.manifest.rate_limit;
        if rate.requests.is_some() != rate.per_seconds.is_some() {
            self.tell("rate_limit", "needs requests and per_seconds together");
        }
        for (name, value) in [("requests", rate.requests), ("per_seconds", rate.per_seconds)] {
            if value == Some(0) {
                self.tell(&join("rate_limit", name), "0; expected 1 or more");
            }
        }
        if let Some(concurrency) = rate.concurrency.filter(|given| !(1..=16).contains(given)) {
            self.tell("rate_limit.concurrency", format!("{concurrency}; expected 1 to 16"));
        }
    }
}
