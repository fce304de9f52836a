//! The interface, described for programs.

use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{answer, api};

#[derive(OpenApi)]
#[openapi(
    info(title = "freshdb's broker", description = "Leases pristine databases to programs in any language."),
    paths(api::take_lease, api::give_back, api::tell_outcome, api::changes, api::sessions, api::ask_for_template, api::finish_template, api::discard_template, api::status),
    components(schemas(answer::Refusal)),
    security(("token" = [])),
    modifiers(&Secured)
)]
struct Api;

struct Secured;

impl Modify for Secured {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

pub(super) fn document() -> Document {
    Api::openapi()
}
