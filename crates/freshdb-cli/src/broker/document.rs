//! The interface, described for programs.

use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, Ref};
use utoipa::{Modify, OpenApi};

use super::{answer, api};

#[derive(OpenApi)]
#[openapi(
    info(title = "freshdb's broker", description = "Leases pristine databases to programs in any language."),
    paths(api::take_lease, api::give_back, api::tell_outcome, api::changes, api::sessions, api::ask_for_template, api::finish_template, api::discard_template, api::status),
    components(schemas(answer::Refusal)),
    security(("token" = [])),
    modifiers(&Secured, &Refused)
)]
struct Api;

struct Secured;

impl Modify for Secured {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// What any request may be refused with, and any for which a body is wanted.
struct Refused;

impl Modify for Refused {
    fn modify(&self, document: &mut Document) {
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                refuse(operation, 401, "No token, or another one");
                refuse(operation, 413, "A body of more than 64 KiB, or, where none is wanted, of more than 4 MiB");
                if operation.request_body.is_some() {
                    refuse(operation, 415, "A body that is not said to be JSON");
                }
            }
        }
    }
}

fn refuse(operation: &mut Operation, status: u16, description: &str) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Refusal"))).build();
    let response = ResponseBuilder::new().description(description).content("application/json", content).build();
    operation.responses.responses.insert(status.to_string(), response.into());
}

pub(super) fn document() -> Document {
    Api::openapi()
}
