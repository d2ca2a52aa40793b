//! The settings of projections, by their names: `[projections.balances]`.

use bento_handlers::ProjectionSettings;

use super::fault::Fault;
use super::read::{Part, origin};
use super::tree::Entry;

/// Reads the section of one projection.
pub(super) fn read(
    name: &str,
    entry: Entry,
    faults: &mut Vec<Fault>,
) -> Option<ProjectionSettings> {
    let path = ["projections", name];
    let said = entry.clone();
    let settings = Part::new(path, entry, faults).read::<ProjectionSettings>()?;
    for fault in settings.faults() {
        let steps = fault.setting.steps();
        let origin = origin(&said, steps);
        let path = bento_relay::route::KeyPath::from(path).join(steps.iter().cloned());
        faults.push(Fault::invalid(path, origin, fault.rule));
    }
    Some(settings)
}
