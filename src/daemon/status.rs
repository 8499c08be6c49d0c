//! What the control plane says: the reply to `status`, and those to the other control messages.

use jiff::Timestamp;
use serde::Serialize;

use super::dreamer::Figures;
use crate::lifecycle::record::Quarantine;
use crate::lifecycle::state_file::{Ask, Digest};
use crate::serve::control_plane::Counters;

/// `status`, whole.
#[derive(Serialize)]
pub(super) struct Status<'a> {
    pub(super) ok: bool,
    pub(super) state: &'a str,
    pub(super) fsm_state: &'a str,
    pub(super) lifecycle_state: &'a str,
    pub(super) uptime_sec: f64,
    pub(super) version: &'a str,
    pub(super) daemon_started_at: Timestamp,
    pub(super) last_tick_at: Option<Timestamp>,
    pub(super) quiet_window: Option<(u8, u8)>,
    pub(super) pending_digest: Option<Digest>,
    pub(super) scheduler_paused: bool,
    pub(super) records: u64,
    pub(super) quarantine: Option<&'a Quarantine>,
    pub(super) rem_cycle: RemCycle<'a>,
    #[serde(flatten)]
    pub(super) counters: &'a Counters,
}

#[derive(Serialize)]
pub(super) struct RemCycle<'a> {
    /// Somebody asked for one that has not begun.
    pub(super) asked: bool,
    #[serde(flatten)]
    pub(super) figures: &'a Figures,
}

/// The reply to a control message.
#[derive(Serialize)]
pub(super) struct Agreed<'a> {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<bool>,
}

impl Agreed<'static> {
    /// To a request to sleep of one that does.
    pub(super) const ALREADY_SLEEPING: Agreed<'static> =
        Agreed { ok: false, state: None, reason: Some("already_sleeping"), paused: None };

    /// To what was asked, once it is on disk.
    pub(super) fn to(ask: &Ask) -> Agreed<'static> {
        let none = Agreed { ok: true, state: None, reason: None, paused: None };
        match ask {
            Ask::Sleep { .. } => Agreed { state: Some("TRANSITIONING"), ..none },
            Ask::Wake { .. } => Agreed { reason: Some("wake_queued"), ..none },
            Ask::Rem { .. } => Agreed { reason: Some("rem_queued"), ..none },
            Ask::Pause => Agreed { paused: Some(true), ..none },
            Ask::Resume => Agreed { paused: Some(false), ..none },
            Ask::SessionOpen { .. } => Agreed { reason: Some("session_open_queued"), ..none },
            Ask::Settled(_) | Ask::Dreamt | Ask::Learned(_) => none,
        }
    }
}
