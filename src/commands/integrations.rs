//! `crosswalk integrations`: what the writer of a manifest needs: a beginning, a check, a schema for the editor.

use std::{
    fmt::Write as _,
    fs,
    io::{self, IsTerminal, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail};

use crate::{
    domain::IntegrationName,
    integrations::{
        Integration,
        catalogue::{self, Broken, Catalogue},
        manifest::{Auth, Manifest, Paginator, json_schema},
    },
};

/// What `new` writes, once the name is in it.
const TEMPLATE: &str = include_str!("../../examples/integration.yaml");
/// The name in the template.
const PLACEHOLDER: &str = "my_system";

/// The manifests that were named, else those of the folder. What the service refuses is broken here too.
///
/// # Errors
/// There is no such file or folder, or no manifest in it.
pub fn read(paths: &[PathBuf], folder: &Path, compiled_in: &[Arc<dyn Integration>]) -> anyhow::Result<Catalogue> {
    let given = if paths.is_empty() { vec![folder.to_owned()] } else { paths.to_vec() };
    let mut catalogue = Catalogue::default();
    for path in given {
        if path.is_dir() {
            let found = Catalogue::read(&path);
            if found.manifests.is_empty() && found.broken.is_empty() {
                let remedy = "`crosswalk integrations new NAME` writes one to begin with";
                bail!("no manifest (*.yaml) in {}; {remedy}", path.display());
            }
            catalogue.manifests.extend(found.manifests);
            catalogue.broken.extend(found.broken);
        } else if path.exists() {
            match catalogue::read(&path) {
                Ok(manifest) => catalogue.manifests.push((path, manifest)),
                Err(problems) => catalogue.broken.push(Broken { file: path, problems }),
            }
        } else if paths.is_empty() {
            bail!("no folder {}; name one, or set CROSSWALK_INTEGRATIONS_DIR", path.display());
        } else {
            bail!("no file or folder {}", path.display());
        }
    }
    catalogue.refuse_names(compiled_in);
    Ok(catalogue)
}

/// Says of every file whether it can be used, and what is wrong; exit code 1 on any problem.
///
/// # Errors
/// The output cannot be written.
pub fn check(catalogue: &Catalogue) -> anyhow::Result<ExitCode> {
    io::stdout().lock().write_all(report(catalogue, io::stdout().is_terminal()).as_bytes())?;
    Ok(if catalogue.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) fn report(catalogue: &Catalogue, colours: bool) -> String {
    let [green, red, plain] = if colours { ["\x1b[32m", "\x1b[31m", "\x1b[0m"] } else { [""; 3] };
    let width = catalogue.manifests.iter().map(|(_, manifest)| manifest.id.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (_, manifest) in &catalogue.manifests {
        let (id, name) = (&manifest.id, &manifest.name);
        let _ = writeln!(text, "{green}ok{plain}  {id:width$}  {name} ({})", summary(manifest));
    }
    for broken in &catalogue.broken {
        for problem in &broken.problems {
            let _ = writeln!(text, "{red}{}:{}{plain}: {}", broken.file.display(), problem.line, problem.text());
        }
    }
    let problems: usize = catalogue.broken.iter().map(|broken| broken.problems.len()).sum();
    let _ = match problems {
        0 => writeln!(text, "{} good", catalogue.manifests.len()),
        _ => writeln!(text, "{} good, {} not; problems: {problems}", catalogue.manifests.len(), catalogue.broken.len()),
    };
    text
}

/// What it can do, and how.
fn summary(manifest: &Manifest) -> String {
    let list = match manifest.list_organizations.as_ref().map(|list| &list.paginator) {
        None => "ids by hand",
        Some(Paginator::SinglePage {}) => "lists, one page",
        Some(Paginator::PageNumber { .. }) => "lists, pages by number",
        Some(Paginator::Offset { .. }) => "lists, pages by offset",
        Some(Paginator::Cursor { .. }) => "lists, pages by cursor",
        Some(Paginator::JsonLink { .. }) => "lists, pages by link",
        Some(Paginator::HeaderLink { .. }) => "lists, pages by Link header",
    };
    let auth = match manifest.auth {
        Auth::None => "no credentials",
        Auth::ApiKey { .. } => "api_key",
        Auth::Bearer { .. } => "bearer",
        Auth::Basic { .. } => "basic",
        Auth::OAuth2ClientCredentials { .. } => "oauth2_client_credentials",
        Auth::SessionToken { .. } => "session_token",
        Auth::JwtBearer { .. } => "jwt_bearer",
        Auth::HmacSignature { .. } => "hmac_signature",
    };
    format!("{list}, {auth}")
}

/// Writes a manifest to begin with, where there is none of that name.
///
/// # Errors
/// The name is none; the file is there already or cannot be written.
pub fn new(name: &str, folder: &Path) -> anyhow::Result<()> {
    let name = IntegrationName::parse(name).with_context(|| format!("the name '{}'", name.escape_debug()))?;
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let file = folder.join(format!("{name}.yaml"));
    let hyphens = |name: &str| name.replace('_', "-");
    let text = TEMPLATE.replace(PLACEHOLDER, name.as_str()).replace(&hyphens(PLACEHOLDER), &hyphens(name.as_str()));
    let mut out = match fs::File::create_new(&file) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{} is there already; edit it, or choose another name", file.display())
        }
        out => out.with_context(|| format!("{} cannot be written", file.display()))?,
    };
    out.write_all(text.as_bytes()).with_context(|| format!("{} cannot be written", file.display()))?;
    let shown = file.display();
    println!(
        "{shown} written. Next:\n\
         \n  1. Edit it: every line says what goes there. integrations/README.md explains the rest.\
         \n  2. Check it: crosswalk integrations check {shown}\
         \n  3. Give its settings: {name}_host, and the secret {}; then restart.",
        hyphens(&format!("{name}_api_key"))
    );
    Ok(())
}

/// Prints the JSON Schema.
///
/// # Errors
/// The output cannot be written.
pub fn schema() -> anyhow::Result<()> {
    Ok(io::stdout().lock().write_all(schema_text()?.as_bytes())?)
}

fn schema_text() -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(&json_schema())? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrations::examples;

    #[test]
    fn what_new_writes_is_good_and_never_written_twice() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("made/too");
        new("acme_rmm", &folder).unwrap();
        let catalogue = Catalogue::read(&folder);
        insta::assert_snapshot!(report(&catalogue, false), @r"
    ok  acme_rmm  My System (lists, pages by number, api_key)
    1 good
    ");
        let written = fs::read_to_string(folder.join("acme_rmm.yaml")).unwrap();
        assert!(written.contains("the secret acme-rmm-api-key") && !written.contains("my-system"), "{written}");
        fs::write(folder.join("acme_rmm.yaml"), "mine").unwrap();
        assert!(new("acme_rmm", &folder).unwrap_err().to_string().contains("is there already"));
        assert_eq!(fs::read_to_string(folder.join("acme_rmm.yaml")).unwrap(), "mine");
        insta::assert_snapshot!(format!("{:#}", new("../x", &folder).unwrap_err()), @"the name '../x': must begin with a lower-case letter and hold at most 50 lower-case letters, digits and underscores");
    }

    #[test]
    fn problems_are_told_with_file_and_line() {
        let problems = Manifest::load("a.yaml", "id: a\nname: [").unwrap_err();
        let broken = vec![Broken { file: "integrations/a.yaml".into(), problems }];
        let catalogue = Catalogue { broken, ..Catalogue::default() };
        insta::assert_snapshot!(report(&catalogue, false), @r"
    integrations/a.yaml:2: a bracket that opens here is never closed; close it, or quote the value
    0 good, 1 not; problems: 1
    ");
        assert!(report(&catalogue, true).contains("\x1b[31mintegrations/a.yaml:"));
    }

    #[test]
    fn a_folder_without_manifests_is_no_good_one() {
        let folder = tempfile::tempdir().unwrap();
        let told = read(&[folder.path().to_owned()], Path::new(""), &[]).unwrap_err().to_string();
        let told = told.replace(folder.path().to_str().unwrap(), "FOLDER");
        insta::assert_snapshot!(told, @"no manifest (*.yaml) in FOLDER; `crosswalk integrations new NAME` writes one to begin with");
    }

    #[test]
    fn what_the_service_refuses_the_check_refuses_too() {
        let folder = tempfile::tempdir().unwrap();
        let psa = include_str!("../../examples/integrations/example_psa.yaml");
        let file = folder.path().join("example_psa.yaml");
        fs::write(&file, psa).unwrap();
        let outbound = super::super::outbound(None).unwrap();
        let service = super::super::registry(examples().unwrap(), folder.path(), &outbound).unwrap();
        let told = |broken: &[Broken]| broken.iter().flat_map(|one| one.problems.clone()).collect::<Vec<_>>();
        assert!(told(service.broken())[0].to_string().contains("id: an integration example_psa is built in"));
        // Neither the folder nor the file alone is good.
        for path in [folder.path(), &file] {
            let check = read(&[path.to_owned()], Path::new(""), &examples().unwrap()).unwrap();
            assert_eq!(told(&check.broken), told(service.broken()));
        }
    }

    #[test]
    fn the_schema_for_editors_is_up_to_date() {
        let stored = include_str!("../../integrations/manifest.schema.json");
        let remedy = "write it anew: cargo run -- integrations schema > integrations/manifest.schema.json";
        assert!(stored == schema_text().unwrap(), "{remedy}");
    }
}
