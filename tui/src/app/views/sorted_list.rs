//! The rows of a view in an order that the user chooses, the selected row, and the visible part.

use std::time::Duration;

/// How long after a move of the selection the rows keep an order that depends on counts.
const HELD: Duration = Duration::from_secs(3);

/// Rows `R` in an order `O`. The key `K` identifies the selected row, so that it stays selected wherever it moves.
#[derive(Debug)]
pub(crate) struct List<R, K, O> {
    pub order: O,
    pub reverse: bool,
    pub rows: Vec<R>,
    /// The key of the selected row, which stays selected. `None`: the view chooses the row.
    pub key: Option<K>,
    pub at: usize,
    /// The first row on the screen.
    pub top: usize,
    /// When the selection moved. `None`: the rows may change their order.
    pub moved: Option<Duration>,
}

impl<R, K, O> List<R, K, O> {
    pub(crate) fn selected(&self) -> Option<&R> {
        self.rows.get(self.at)
    }

    /// Whether the selection moved within the last [`HELD`].
    pub(crate) fn is_held(&self, now: Duration) -> bool {
        self.moved.is_some_and(|moved| now < moved + HELD)
    }

    /// Shows new rows with the selection at `at`. The selected row keeps its place on the screen.
    pub(crate) fn show(&mut self, rows: Vec<R>, at: usize) {
        let offset = self.at.saturating_sub(self.top);
        self.at = at.min(rows.len().saturating_sub(1));
        self.top = self.at.saturating_sub(offset);
        self.rows = rows;
    }

    /// Scrolls so that the selected row is on a screen of `height` rows.
    pub(crate) fn reveal(&mut self, height: usize) {
        let most = self.rows.len().saturating_sub(height);
        self.top = self.top.min(most).clamp((self.at + 1).saturating_sub(height.max(1)), self.at);
    }

    /// Selects a row. `key` returns its key.
    pub(crate) fn select(&mut self, row: usize, now: Duration, key: impl FnOnce(&R) -> Option<K>) {
        self.at = row.min(self.rows.len().saturating_sub(1));
        self.key = self.rows.get(self.at).and_then(key);
        self.moved = Some(now);
    }

    /// Selects the first row until the view chooses one.
    pub(crate) fn unselect(&mut self) {
        (self.key, self.at) = (None, 0);
    }

    /// Empties the list. The order and the key of the selected row stay.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        (self.at, self.top, self.moved) = (0, 0, None);
    }
}

impl<R, K, O: Default> Default for List<R, K, O> {
    fn default() -> Self {
        let (order, reverse) = Default::default();
        List { order, reverse, rows: Vec::new(), key: None, at: 0, top: 0, moved: None }
    }
}

impl<R, K, O: Default> List<R, K, O> {
    pub(crate) fn reset_order(&mut self) {
        (self.order, self.reverse) = Default::default();
    }
}

pub(crate) fn sorted_by(order: &str, reverse: bool) -> String {
    format!("sorted by {order}{}", if reverse { ", reversed" } else { "" })
}
