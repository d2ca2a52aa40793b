//! Places in the stored events.

use bento_core::report::with_causes;
use bento_relay::event_store::{Cursor, EventStore, EventStoreError, Selection};

use super::bench::{MANY, all, assert_same, behind, history, save, selections};
use super::{EventStoreBench, Purse};

/// Behind the cursor of any event come the events behind it, and only those.
pub async fn reading_goes_on_behind_any_event<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    history(&store).await;
    for of in selections() {
        let stored = all(&store, &of).await;
        for (index, event) in stored.iter().enumerate() {
            let (rest, _) = behind(&bench.store(), &of, &event.cursor, MANY).await;
            assert_same(&rest, &stored[index + 1..]);
        }
    }
}

/// The text of a cursor is the cursor.
pub async fn a_cursor_is_kept_as_text<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    history(&store).await;
    for of in selections() {
        let (stored, end) = behind(&store, &of, &Cursor::START, 7).await;
        let places = stored.iter().map(|event| &event.cursor).chain([&end]);
        for place in places {
            let kept: Result<Cursor, _> = place.to_string().parse();
            assert_eq!(kept.as_ref(), Ok(place), "{of:?}");
        }
        if let Some(event) = stored.first() {
            let kept = event.cursor.to_string().parse().expect("it is a cursor");
            let (rest, _) = behind(&store, &of, &kept, MANY).await;
            assert_same(&rest, &stored[1..]);
        }
    }
}

/// A cursor that no store makes is refused, with the cursor in the text.
pub async fn a_cursor_of_garbage_is_refused<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    save(&store, &mut Purse::open("p3")).await;
    for text in ["1@garbage", "1@10:20", "1@:::", "1@"] {
        let garbage: Cursor = text.parse().expect("it begins with a number");
        let refused = store.page(&Selection::All, &garbage, 10).await;
        let error = refused.expect_err(text);
        assert!(
            matches!(&error, EventStoreError::Cursor { cursor, .. } if *cursor == garbage),
            "{}",
            with_causes(&error)
        );
        assert!(error.to_string().contains(text), "{error}");
    }
}
