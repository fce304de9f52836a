//! Scripts by chance.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::dirt::{Kind, Reach};
use crate::script::{Ending, SESSIONS, Script, Step};

/// The most steps of one script.
const STEPS: usize = 12;

/// One of so many scripts ends with its process.
const KILLED: u32 = 15;

/// Scripts of one to twelve steps, of all kinds of dirt or of those that leave the schema as it is. One step that does not
/// costs the database its slot, so that nothing is seen of how rows are put back.
pub(crate) fn scripts(kinds: &[Kind], reach: Reach) -> impl Strategy<Value = Script> + use<> {
    let reached = |kind: &Kind| reach == Reach::Schema || kind.reach == Reach::Rows;
    script(kinds.iter().copied().enumerate().filter(|(_, kind)| reached(kind)).collect())
}

fn script(kinds: Vec<(usize, Kind)>) -> impl Strategy<Value = Script> {
    let step = (0..SESSIONS, 0..kinds.len(), 0..1000_usize, 0..60_u32);
    let ending = prop_oneof![3 => Just(Ending::Closed), 2 => Just(Ending::Dropped), 3 => Just(Ending::Leaked)];
    let killed = prop_oneof![KILLED - 1 => Just(false), 1 => Just(true)];
    (vec(step, 1..=STEPS), [ending.clone(), ending.clone(), ending], killed).prop_map(
        move |(steps, endings, killed)| {
            let steps = steps.into_iter().map(|(session, kind, text, number)| {
                let (index, kind) = kinds[kind];
                step_of(session, index, &kind, text % kind.texts.len(), number)
            });
            Script { steps: steps.collect(), endings, killed }
        },
    )
}

fn step_of(session: usize, index: usize, kind: &Kind, text: usize, number: u32) -> Step {
    let sql = kind.texts[text].replace("{n}", &number.to_string());
    Step { session, sql, origin: Some((index, text)) }
}

/// What a killed process leaves behind, and can be put back in place.
pub(crate) fn left_behind() -> Script {
    let sql = "INSERT INTO plain (name) VALUES ('left behind')".to_owned();
    Script { steps: vec![Step { session: 0, sql, origin: None }], endings: [Ending::Closed; SESSIONS], killed: true }
}

/// Each text on its own, of those that are asked for.
pub(crate) fn alone(kinds: &[Kind], mut wanted: impl FnMut((usize, usize)) -> bool) -> Vec<Script> {
    let mut scripts = Vec::new();
    for (index, kind) in kinds.iter().enumerate() {
        for text in (0..kind.texts.len()).filter(|text| wanted((index, *text))) {
            let steps = vec![step_of(0, index, kind, text, 1)];
            scripts.push(Script { steps, endings: [Ending::Closed; SESSIONS], killed: false });
        }
    }
    scripts
}
