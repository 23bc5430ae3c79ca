//! Addresses of requests: how templates become URLs, and which hosts an integration's credentials may go to.
//!
//! A host that is written in the manifest, or that ends in a name written there, is allowed. Any other has to match
//! `allowed_hosts`: it comes from a setting, an answer or a link, and whoever writes those must not get the credentials.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::scope::Scope;
use crate::integrations::{
    Failure, FailureClass,
    manifest::{FieldKind, HostPattern, Manifest, Reference, Template, plain, segment, unfit},
    settings::Scope as SettingScope,
};

/// What a value in a query must not contain as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// For showing a URL's host in a message.
const SHOWN: &AsciiSet = &CONTROLS.add(b' ');

/// A template as the text of a URL; `allowed` as in the manifest, with those of the client.
pub fn render(template: &Template, scope: &Scope<'_>, allowed: &[HostPattern]) -> Result<String, Failure> {
    let mut bound = true;
    let mut own_host = false;
    let text = template.fill_after(|before, reference| {
        let text = plain(reference, scope)?;
        let scheme = before.find("://").map(|at| at + 3);
        let in_host = scheme.is_none_or(|begin| !before[begin..].contains(['/', '?', '#']));
        if in_host {
            let is_enum = is_enum(scope.manifest(), reference);
            bound &= is_enum;
            own_host |= !is_enum && is_of_the_organization(reference, scope);
        }
        if before.is_empty() {
            // A whole address, such as one that a post_connection step saved. A path is put after it.
            let fits = !text.contains(['?', '#', '\\']);
            let text = text.trim_end_matches('/').to_owned();
            return if fits {
                Ok(text)
            } else {
                Err(unfit(reference, "must be an address without '?', '#' and '\\' here"))
            };
        }
        if in_host {
            let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
            return if fits && !text.is_empty() { Ok(text) } else { Err(unfit(reference, "must be a host name here")) };
        }
        if before.contains('?') {
            return Ok(utf8_percent_encode(&text, QUERY).to_string());
        }
        segment(reference, &text)
    })?;
    let url = parse(&text)?;
    if own_host && !scope.settings().secrets_are_its_own() {
        return Err(Failure::new(
            FailureClass::Configuration,
            "the host is set for this organization, but the credentials are not: they would be sent to a host that \
             somebody else chose; set both for the organization or both globally",
        ));
    }
    if !bound && !ends_as_written(template, &url) && !matches(allowed, &url) {
        return Err(forbidden(&url, "is not among the manifest's allowed_hosts"));
    }
    Ok(text)
}

/// A parsed https URL.
pub fn parse(text: &str) -> Result<Url, Failure> {
    let url = Url::parse(text).map_err(|error| {
        Failure::new(FailureClass::Configuration, format!("an address of the manifest cannot be used: {error}"))
    })?;
    if url.scheme() == "https" && url.username().is_empty() && url.password().is_none() {
        Ok(url)
    } else {
        Err(forbidden(&url, "must be reached by https, without a user in the address"))
    }
}

/// Where a link or redirect of `from` leads, if credentials may be sent there. `home` was asked first, and has them.
///
/// What leads elsewhere is the system's doing, so it is no setting that is wrong.
pub fn follow(from: &Url, link: &str, home: &Url, allowed: &[HostPattern]) -> Result<Url, Failure> {
    let broken = |_| Failure::new(FailureClass::BadResponse, "the answer links to something that is no address");
    let to = from.join(link).map_err(broken)?;
    let same_origin = [from.origin(), home.origin()].contains(&to.origin());
    let plain_https = to.scheme() == "https" && to.port().is_none();
    if to.username().is_empty() && to.password().is_none() && (same_origin || (plain_https && matches(allowed, &to))) {
        Ok(to)
    } else {
        let refused = forbidden(&to, "is linked to by the answer, but not among the manifest's allowed_hosts");
        Err(Failure { class: FailureClass::BadResponse, ..refused })
    }
}

fn matches(allowed: &[HostPattern], url: &Url) -> bool {
    url.host_str().is_some_and(|host| allowed.iter().any(|pattern| pattern.allows(host)))
}

/// Whether the end of the host is written in the template: at least two labels, as in `{{config.x}}.example.com`.
fn ends_as_written(template: &Template, url: &Url) -> bool {
    let Some(host) = template.host() else { return false };
    let Some((_, written)) = host.rsplit_once("}}") else { return true };
    written.starts_with('.')
        && written.trim_start_matches('.').contains('.')
        && url.host_str().is_some_and(|host| host.ends_with(written))
}

fn is_enum(manifest: &Manifest, reference: &Reference) -> bool {
    let (fields, key) = match reference {
        Reference::Config(key) => (&manifest.config, key),
        Reference::Mapping(key) => (&manifest.mapping_data, key),
        _ => return false,
    };
    fields.iter().any(|field| field.key == *key && field.kind == FieldKind::Enum)
}

fn is_of_the_organization(reference: &Reference, scope: &Scope<'_>) -> bool {
    match reference {
        Reference::Config(key) => {
            scope.settings().get(key).is_some_and(|setting| setting.scope == SettingScope::Organization)
        }
        Reference::Mapping(_) => true,
        _ => false,
    }
}

fn forbidden(url: &Url, reason: &str) -> Failure {
    let host = utf8_percent_encode(url.host_str().unwrap_or("(no host)"), SHOWN).to_string();
    Failure::new(FailureClass::Configuration, format!("host {host} {reason}"))
}
