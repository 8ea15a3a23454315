//! Control of cold reads: 2001, 2002, 2003; read-ahead in the commit log: 2004.

use crate::cold_data::ColdDataControl;
use crate::config_manager::BrokerConfigManager;
use codec::fields::NoHeader;
use daemon::properties::Properties;
use protocol::body::encode;
use protocol::header::admin::SetCommitLogReadModeRequestHeader;
use protocol::operation::{
    GetColdDataFlowCtrInfo, RemoveColdDataFlowCtrConfig, SetCommitLogReadMode, UpdateColdDataFlowCtrConfig,
};
use protocol::response_code::{INVALID_PARAMETER, SYSTEM_ERROR};
use remoting::clock;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::sync::Arc;
use store::MessageStore;

/// madvise's MADV_NORMAL, as administrators send it.
const NORMAL: i32 = 0;
/// madvise's MADV_RANDOM.
const RANDOM: i32 = 1;

/// Sets how much cold data groups may read, and shows it.
pub struct ColdDataAdmin {
    /// Who reads cold data.
    pub cold: Arc<ColdDataControl>,
    /// Its log is read with read-ahead or without.
    pub store: Arc<MessageStore>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
}

impl Processor<UpdateColdDataFlowCtrConfig> for ColdDataAdmin {
    fn process(&self, request: Request<NoHeader>) -> Outcome {
        let text = String::from_utf8_lossy(&request.body);
        let Ok(properties) = Properties::from_text(&text, "request") else {
            return Reply::error(SYSTEM_ERROR, "string2Properties error").into();
        };
        for entry in properties.entries() {
            // Java passes over what is no number, too.
            let Ok(threshold) = entry.value.trim().parse() else {
                tracing::warn!(group = entry.key, value = entry.value, "threshold of cold reads is no number of bytes");
                continue;
            };
            if !self.cold.set(&entry.key, threshold) {
                let remark = format!("{} and those behind it not set: too many groups have a threshold", entry.key);
                return Reply::error(SYSTEM_ERROR, remark).into();
            }
            tracing::info!(group = entry.key, threshold, "threshold of cold reads set");
        }
        Reply::success().into()
    }
}

impl Processor<RemoveColdDataFlowCtrConfig> for ColdDataAdmin {
    fn process(&self, request: Request<NoHeader>) -> Outcome {
        self.cold.remove(&String::from_utf8_lossy(&request.body));
        Reply::success().into()
    }
}

impl Processor<GetColdDataFlowCtrInfo> for ColdDataAdmin {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        Reply::body(encode(&self.cold.info(&self.config.get().broker, clock::now_ms()))).into()
    }
}

impl Processor<SetCommitLogReadMode> for ColdDataAdmin {
    fn process(&self, request: Request<SetCommitLogReadModeRequestHeader>) -> Outcome {
        let mode = request.header.mode.as_deref().and_then(|mode| mode.parse::<i32>().ok());
        let read_ahead = match mode {
            Some(NORMAL) => true,
            Some(RANDOM) => false,
            Some(_) => return Reply::error(INVALID_PARAMETER, "set commitlog readahead mode param value error").into(),
            None => return Reply::error(SYSTEM_ERROR, "set commitlog readahead mode failed").into(),
        };
        if let Err(error) = self.config.update(&format!("dataReadAheadEnable={read_ahead}")) {
            return Reply::error(SYSTEM_ERROR, format!("set commitlog readahead mode failed: {error}")).into();
        }
        self.store.set_read_ahead(read_ahead);
        let mode = if read_ahead { NORMAL } else { RANDOM };
        Reply::success().with_remark(format!("set commitlog readahead mode success, mode: {mode}")).into()
    }
}
