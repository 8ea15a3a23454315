//! The nameserver. Source: remoting/protocol/header/namesrv/*.java.

use bytestring::ByteString;
use codec::command_header;

command_header! {
    /// Code 100.
    pub struct PutKvConfigRequestHeader {
        "namespace" namespace: Option<ByteString>,
        "key" key: Option<ByteString>,
        "value" value: Option<ByteString>,
    }
}

command_header! {
    /// Codes 101 and 102.
    pub struct KvConfigKeyRequestHeader {
        "namespace" namespace: ByteString,
        "key" key: ByteString,
    }
}

command_header! {
    /// Answer to 101.
    pub struct GetKvConfigResponseHeader {
        "value" value: Option<ByteString>,
    }
}

command_header! {
    /// Code 219.
    pub struct GetKvListByNamespaceRequestHeader {
        "namespace" namespace: ByteString,
    }
}

command_header! {
    /// Code 103.
    pub struct RegisterBrokerRequestHeader {
        "brokerName" broker_name: ByteString,
        "brokerAddr" broker_addr: ByteString,
        "clusterName" cluster_name: ByteString,
        "haServerAddr" ha_server_addr: Option<ByteString>,
        "brokerId" broker_id: i64,
        /// Silence after which the broker is forgotten, ms.
        "heartbeatTimeoutMillis" heartbeat_timeout_millis: Option<i64>,
        "enableActingMaster" enable_acting_master: Option<bool>,
        /// The body is deflated.
        "compressed" compressed: bool = false,
        /// CRC-32 of the body, 0 unchecked.
        "bodyCrc32" body_crc32: i32 = 0,
        /// Zone of the broker.
        "__ZONE_NAME" zone_name: Option<ByteString>,
    }
}

command_header! {
    /// Answer to 103.
    pub struct RegisterBrokerResponseHeader {
        "haServerAddr" ha_server_addr: Option<ByteString>,
        "masterAddr" master_addr: Option<ByteString>,
    }
}

command_header! {
    /// Codes 104 and 322.
    pub struct BrokerIdentityRequestHeader {
        "brokerName" broker_name: ByteString,
        "brokerAddr" broker_addr: ByteString,
        "clusterName" cluster_name: ByteString,
        "brokerId" broker_id: i64,
    }
}

command_header! {
    /// Answer to 322.
    pub struct QueryDataVersionResponseHeader {
        /// The nameserver holds another version.
        "changed" changed: bool,
    }
}

command_header! {
    /// Code 904.
    pub struct BrokerHeartbeatRequestHeader {
        "clusterName" cluster_name: ByteString,
        "brokerAddr" broker_addr: ByteString,
        "brokerName" broker_name: Option<ByteString>,
        "brokerId" broker_id: Option<i64>,
    }
}

command_header! {
    /// Code 901.
    pub struct GetBrokerMemberGroupRequestHeader {
        "clusterName" cluster_name: ByteString,
        "brokerName" broker_name: ByteString,
    }
}

command_header! {
    /// Codes 205 and 327.
    pub struct WritePermOfBrokerRequestHeader {
        "brokerName" broker_name: ByteString,
    }
}

command_header! {
    /// Answer to 205.
    pub struct WipeWritePermOfBrokerResponseHeader {
        "wipeTopicCount" wipe_topic_count: i32,
    }
}

command_header! {
    /// Answer to 327.
    pub struct AddWritePermOfBrokerResponseHeader {
        "addTopicCount" add_topic_count: i32,
    }
}

command_header! {
    /// Code 216.
    pub struct DeleteTopicFromNamesrvRequestHeader {
        "topic" topic: ByteString,
        /// Only the brokers of this cluster.
        "clusterName" cluster_name: Option<ByteString>,
    }
}

command_header! {
    /// Code 217.
    pub struct RegisterTopicRequestHeader {
        "topic" topic: ByteString,
    }
}

command_header! {
    /// Code 224.
    pub struct GetTopicsByClusterRequestHeader {
        "cluster" cluster: ByteString,
    }
}

command_header! {
    /// Code 105.
    pub struct GetRouteInfoRequestHeader {
        "topic" topic: ByteString,
        /// The client reads standard JSON only.
        "acceptStandardJsonOnly" accept_standard_json_only: bool = false,
        /// Only brokers of a zone.
        "__ZONE_MODE" zone_mode: bool = false,
        /// That zone.
        "__ZONE_NAME" zone_name: Option<ByteString>,
    }
}

command_header! {
    /// Code 905, towards brokers.
    pub struct NotifyMinBrokerIdChangeRequestHeader {
        "minBrokerId" min_broker_id: Option<i64>,
        "brokerName" broker_name: Option<ByteString>,
        "minBrokerAddr" min_broker_addr: Option<ByteString>,
        "offlineBrokerAddr" offline_broker_addr: Option<ByteString>,
        "haBrokerAddr" ha_broker_addr: Option<ByteString>,
    }
}
