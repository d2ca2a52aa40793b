//! The time that a call may take.

use std::time::Duration;

use bento_relay::publish::Delivery;

/// The longest time that is kept back for the answer itself.
const MARGIN: Duration = Duration::from_millis(500);

/// The time that a call for a batch may still take: a publisher's own limit, or what the relay
/// leaves of its.
pub(crate) fn patience(batch: &[Delivery], own: Duration) -> Duration {
    batch
        .iter()
        .filter_map(left)
        .min()
        .map_or(own, |left| left.min(own))
}

/// The time until the relay gives a delivery up, but for what the answer takes.
pub(crate) fn left(delivery: &Delivery) -> Option<Duration> {
    delivery
        .time_left()
        .map(|left| left.saturating_sub(MARGIN.min(left / 10)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bento_core::Envelope;
    use bento_relay::publish::Destination;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_shorter_of_both_limits_counts() {
        let seconds = Duration::from_secs;
        let event = Envelope::new("a", 1, chrono::DateTime::UNIX_EPOCH, "{}");
        let delivery = Delivery::new(Arc::new(event), Destination::default());
        assert_eq!(
            patience(std::slice::from_ref(&delivery), seconds(9)),
            seconds(9)
        );
        let bounded = [
            delivery.clone().within(seconds(30)),
            delivery.within(seconds(40)),
        ];
        assert_eq!(
            (
                patience(&bounded, seconds(9)),
                patience(&bounded, seconds(99))
            ),
            (seconds(9), seconds(30) - MARGIN)
        );
        tokio::time::advance(seconds(29)).await;
        assert_eq!(patience(&bounded, seconds(9)), Duration::from_millis(900));
        tokio::time::advance(seconds(29)).await;
        assert_eq!(patience(&bounded, seconds(9)), Duration::ZERO);
    }
}
