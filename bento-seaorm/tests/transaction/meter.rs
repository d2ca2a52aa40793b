//! An event-sourced meter with snapshots, as several releases of one program declare it.

use bento_core::{PendingEvents, WireShape, aggregate, domain_event};
use serde::{Deserialize, Serialize};

#[domain_event(schema = "meter.read", version = 1)]
#[derive(Clone, Debug)]
pub struct Counted {
    pub units: i64,
}

#[aggregate(event_sourced, snapshots(every = 5), events(Counted), name = "meter")]
#[derive(Debug, Default, Serialize, Deserialize, WireShape)]
pub struct Meter {
    pub id: String,
    #[aggregate(version)]
    pub version: i64,
    pub total: i64,
    pub events: PendingEvents,
}

impl Meter {
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            ..Self::default()
        }
    }

    /// Counts 1, so many times.
    pub fn count(&mut self, times: i64) {
        (0..times).for_each(|_| self.raise(Counted { units: 1 }));
    }

    fn apply(&mut self, event: &MeterEvent) {
        match event {
            MeterEvent::Counted(counted) => self.total += counted.units,
        }
    }
}

/// The meter of a release with a state of another shape.
pub mod wider {
    use super::{Counted, Deserialize, PendingEvents, Serialize, WireShape, aggregate};

    #[aggregate(event_sourced, snapshots(every = 5), events(Counted), name = "meter")]
    #[derive(Debug, Default, Serialize, Deserialize, WireShape)]
    pub struct Meter {
        pub id: String,
        #[aggregate(version)]
        pub version: i64,
        pub total: i64,
        #[serde(default)]
        pub readings: i64,
        pub events: PendingEvents,
    }

    impl Meter {
        pub fn count(&mut self) {
            self.raise(Counted { units: 1 });
        }

        fn apply(&mut self, event: &MeterEvent) {
            let MeterEvent::Counted(counted) = event;
            self.total += counted.units;
            self.readings += 1;
        }
    }
}

/// The meter of a release whose `apply` counts double.
pub mod doubled {
    use super::{Counted, Deserialize, PendingEvents, Serialize, WireShape, aggregate};

    #[aggregate(
        event_sourced,
        snapshots(every = 5, version = 2),
        events(Counted),
        name = "meter"
    )]
    #[derive(Debug, Default, Serialize, Deserialize, WireShape)]
    pub struct Meter {
        pub id: String,
        #[aggregate(version)]
        pub version: i64,
        pub total: i64,
        pub events: PendingEvents,
    }

    impl Meter {
        fn apply(&mut self, event: &MeterEvent) {
            let MeterEvent::Counted(counted) = event;
            self.total += 2 * counted.units;
        }
    }
}

/// A meter whose event has got a field since the release before.
pub mod declared {
    use bento_core::domain_event;

    use super::{Deserialize, PendingEvents, Serialize, WireShape, aggregate};

    #[domain_event(schema = "meter.counted", version = 2)]
    #[derive(Clone, Debug)]
    pub struct Counted {
        pub units: i64,
        #[event(since = 2, default = 1)]
        pub factor: i64,
    }

    #[aggregate(event_sourced, snapshots(every = 5), events(Counted), name = "meter")]
    #[derive(Debug, Default, Serialize, Deserialize, WireShape)]
    pub struct Meter {
        pub id: String,
        #[aggregate(version)]
        pub version: i64,
        pub total: i64,
        pub events: PendingEvents,
    }

    impl Meter {
        /// Counts 1, so many times.
        pub fn count(&mut self, times: i64) {
            let counted = || Counted {
                units: 1,
                factor: 1,
            };
            (0..times).for_each(|_| self.raise(counted()));
        }

        fn apply(&mut self, event: &MeterEvent) {
            let MeterEvent::Counted(counted) = event;
            self.total += counted.units * counted.factor;
        }
    }

    /// The release before: it is never run, and has a fingerprint.
    pub mod before {
        use super::{Deserialize, PendingEvents, Serialize, WireShape, aggregate, domain_event};

        #[domain_event(schema = "meter.counted", version = 1)]
        #[derive(Clone, Debug)]
        pub struct Counted {
            pub units: i64,
        }

        #[aggregate(event_sourced, snapshots(every = 5), events(Counted), name = "meter")]
        #[derive(Debug, Default, Serialize, Deserialize, WireShape)]
        pub struct Meter {
            pub id: String,
            #[aggregate(version)]
            pub version: i64,
            pub total: i64,
            pub events: PendingEvents,
        }

        impl Meter {
            fn apply(&mut self, event: &MeterEvent) {
                let MeterEvent::Counted(counted) = event;
                self.total += counted.units;
            }
        }
    }
}

/// A meter that has a row too.
pub mod row {
    use bento_core::{PendingEvents, WireShape, aggregate};
    use sea_orm::entity::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::Counted;

    #[aggregate(
        event_sourced,
        snapshots(every = 5),
        events(Counted),
        name = "meter_row"
    )]
    #[derive(
        Clone, Debug, Default, PartialEq, DeriveEntityModel, Serialize, Deserialize, WireShape,
    )]
    #[sea_orm(table_name = "meter")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        #[aggregate(version)]
        pub version: i64,
        pub total: i64,
        pub events: PendingEvents,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}

    impl Model {
        pub fn count(&mut self, times: i64) {
            (0..times).for_each(|_| self.raise(Counted { units: 1 }));
        }

        fn apply(&mut self, event: &MeterRowEvent) {
            let MeterRowEvent::Counted(counted) = event;
            self.total += counted.units;
        }
    }
}
