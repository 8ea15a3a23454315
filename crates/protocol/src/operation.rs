//! The table of operations: request code, request header, response header. A handler is written for one of these types;
//! several codes may share headers.

use crate::header::{
    admin::*, client::*, namesrv::*, offset::*, pop::*, pull::*, query::*, send::*, topic::*, transaction::*,
};
use codec::fields::{CommandHeader, FieldError, Fields, NoHeader};

/// One kind of request.
pub trait Operation: Send + Sync + 'static {
    /// Its request code.
    const CODE: i32;
    /// Its name here, for logs and metrics.
    const NAME: &'static str;
    /// Header of the request.
    type Request: CommandHeader + Send;
    /// Header of the response.
    type Response: CommandHeader + Send;
}

/// What is known of an operation at run time.
pub struct OperationInfo {
    /// Request code.
    pub code: i32,
    /// Name of the type.
    pub name: &'static str,
    /// Reads a request header and tells its fields again: nothing of what is known may get lost.
    pub request: fn(&Fields) -> Result<Fields, FieldError>,
    /// The same for a response header.
    pub response: fn(&Fields) -> Result<Fields, FieldError>,
}

fn again<H: CommandHeader>(fields: &Fields) -> Result<Fields, FieldError> {
    Ok(Fields::of(&H::decode(fields)?))
}

macro_rules! operations {
    ($($name:ident = $code:literal, $request:ty => $response:ty;)*) => {
        $(
            #[doc = concat!("Request code ", $code, ".")]
            #[derive(Clone, Copy, Debug)]
            pub struct $name;
            impl Operation for $name {
                const CODE: i32 = $code;
                const NAME: &'static str = stringify!($name);
                type Request = $request;
                type Response = $response;
            }
        )*

        /// All operations.
        pub const ALL: &[OperationInfo] = &[$(OperationInfo {
            code: $code,
            name: stringify!($name),
            request: again::<$request>,
            response: again::<$response>,
        },)*];
    };
}

operations! {
    // To the broker: messages.
    SendMessage = 10, SendMessageRequestHeader => SendMessageResponseHeader;
    SendMessageV2 = 310, SendMessageRequestHeaderV2 => SendMessageResponseHeader;
    SendReplyMessage = 324, SendMessageRequestHeader => SendMessageResponseHeader;
    SendReplyMessageV2 = 325, SendMessageRequestHeaderV2 => SendMessageResponseHeader;
    SendBatchMessage = 320, SendMessageRequestHeaderV2 => SendMessageResponseHeader;
    RecallMessage = 370, RecallMessageRequestHeader => RecallMessageResponseHeader;
    ConsumerSendMsgBack = 36, ConsumerSendMsgBackRequestHeader => NoHeader;
    EndTransaction = 37, EndTransactionRequestHeader => NoHeader;
    PullMessage = 11, PullMessageRequestHeader => PullMessageResponseHeader;
    LitePullMessage = 361, PullMessageRequestHeader => PullMessageResponseHeader;
    QueryMessage = 12, QueryMessageRequestHeader => QueryMessageResponseHeader;
    ViewMessageById = 33, ViewMessageRequestHeader => NoHeader;
    QueryConsumeQueue = 321, QueryConsumeQueueRequestHeader => NoHeader;
    PopMessage = 200050, PopMessageRequestHeader => PopMessageResponseHeader;
    AckMessage = 200051, AckMessageRequestHeader => NoHeader;
    BatchAckMessage = 200151, NoHeader => NoHeader;
    PeekMessage = 200052, PeekMessageRequestHeader => PopMessageResponseHeader;
    ChangeMessageInvisibleTime = 200053, ChangeInvisibleTimeRequestHeader => ChangeInvisibleTimeResponseHeader;
    Notification = 200054, NotificationRequestHeader => NotificationResponseHeader;
    PollingInfo = 200055, PollingInfoRequestHeader => PollingInfoResponseHeader;
    QueryAssignment = 400, NoHeader => NoHeader;
    SetMessageRequestMode = 401, NoHeader => NoHeader;
    GetAllMessageRequestMode = 402, NoHeader => NoHeader;

    // To the broker: clients and their offsets.
    HeartBeat = 34, NoHeader => HeartbeatResponseHeader;
    UnregisterClient = 35, UnregisterClientRequestHeader => NoHeader;
    CheckClientConfig = 46, NoHeader => NoHeader;
    GetConsumerListByGroup = 38, ConsumerGroupRequestHeader => NoHeader;
    QueryConsumerOffset = 14, QueryConsumerOffsetRequestHeader => OffsetResponseHeader;
    UpdateConsumerOffset = 15, UpdateConsumerOffsetRequestHeader => NoHeader;
    SearchOffsetByTimestamp = 29, SearchOffsetRequestHeader => OffsetResponseHeader;
    GetMaxOffset = 30, QueueRequestHeader => OffsetResponseHeader;
    GetMinOffset = 31, QueueRequestHeader => OffsetResponseHeader;
    GetEarliestMsgStoretime = 32, QueueRequestHeader => GetEarliestMsgStoretimeResponseHeader;
    LockBatchMq = 41, NoHeader => NoHeader;
    UnlockBatchMq = 42, NoHeader => NoHeader;
    GetConsumerConnectionList = 203, ConsumerGroupRequestHeader => NoHeader;
    GetProducerConnectionList = 204, ProducerGroupRequestHeader => NoHeader;
    GetAllProducerInfo = 328, NoHeader => NoHeader;
    GetConsumerRunningInfo = 307, GetConsumerRunningInfoRequestHeader => NoHeader;
    ConsumeMessageDirectly = 309, ConsumeMessageDirectlyResultRequestHeader => NoHeader;
    InvokeBrokerToResetOffset = 222, ResetOffsetRequestHeader => NoHeader;
    InvokeBrokerToGetConsumerStatus = 223, GetConsumerStatusRequestHeader => NoHeader;
    CloneGroupOffset = 314, CloneGroupOffsetRequestHeader => NoHeader;
    QueryCorrectionOffset = 308, QueryCorrectionOffsetHeader => NoHeader;

    // To the broker: topics, groups, administration.
    UpdateAndCreateTopic = 17, CreateTopicRequestHeader => NoHeader;
    UpdateAndCreateTopicList = 18, NoHeader => NoHeader;
    UpdateAndCreateStaticTopic = 513, CreateTopicRequestHeader => NoHeader;
    DeleteTopicInBroker = 215, TopicRequestHeader => NoHeader;
    GetTopicConfig = 351, GetTopicConfigRequestHeader => NoHeader;
    GetAllTopicConfig = 21, GetAllTopicConfigRequestHeader => GetAllTopicConfigResponseHeader;
    GetTopicStatsInfo = 202, TopicRequestHeader => NoHeader;
    QueryTopicConsumeByWho = 300, TopicRequestHeader => NoHeader;
    QueryTopicsByConsumer = 343, GroupRequestHeader => NoHeader;
    QuerySubscriptionByConsumer = 345, QuerySubscriptionByConsumerRequestHeader => NoHeader;
    QueryConsumeTimeSpan = 303, QueryConsumeTimeSpanRequestHeader => NoHeader;
    GetSystemTopicListFromBroker = 305, NoHeader => NoHeader;
    UpdateAndCreateSubscriptionGroup = 200, NoHeader => NoHeader;
    UpdateAndCreateSubscriptionGroupList = 225, NoHeader => NoHeader;
    GetSubscriptionGroupConfig = 352, GroupRequestHeader => NoHeader;
    GetAllSubscriptionGroupConfig = 201, GetAllSubscriptionGroupRequestHeader => GetAllSubscriptionGroupResponseHeader;
    DeleteSubscriptionGroup = 207, DeleteSubscriptionGroupRequestHeader => NoHeader;
    UpdateAndGetGroupForbidden = 353, UpdateGroupForbiddenRequestHeader => NoHeader;
    GetAllConsumerOffset = 43, NoHeader => NoHeader;
    GetAllDelayOffset = 45, NoHeader => NoHeader;
    GetTimerCheckPoint = 60, NoHeader => NoHeader;
    GetTimerMetrics = 61, NoHeader => NoHeader;
    GetConsumeStats = 208, GetConsumeStatsRequestHeader => NoHeader;
    GetBrokerConsumeStats = 317, GetConsumeStatsInBrokerHeader => NoHeader;
    ViewBrokerStatsData = 315, ViewBrokerStatsDataRequestHeader => NoHeader;
    GetBrokerRuntimeInfo = 28, NoHeader => NoHeader;
    GetBrokerConfig = 26, NoHeader => GetBrokerConfigResponseHeader;
    UpdateBrokerConfig = 25, NoHeader => NoHeader;
    CleanExpiredConsumeQueue = 306, NoHeader => NoHeader;
    CleanUnusedTopic = 316, NoHeader => NoHeader;
    DeleteExpiredCommitLog = 329, NoHeader => NoHeader;
    UpdateColdDataFlowCtrConfig = 2001, NoHeader => NoHeader;
    RemoveColdDataFlowCtrConfig = 2002, NoHeader => NoHeader;
    GetColdDataFlowCtrInfo = 2003, NoHeader => NoHeader;
    SetCommitLogReadMode = 2004, SetCommitLogReadModeRequestHeader => NoHeader;
    ResumeCheckHalfMessage = 323, ResumeCheckHalfMessageRequestHeader => NoHeader;

    // To the nameserver.
    PutKvConfig = 100, PutKvConfigRequestHeader => NoHeader;
    GetKvConfig = 101, KvConfigKeyRequestHeader => GetKvConfigResponseHeader;
    DeleteKvConfig = 102, KvConfigKeyRequestHeader => NoHeader;
    GetKvListByNamespace = 219, GetKvListByNamespaceRequestHeader => NoHeader;
    RegisterBroker = 103, RegisterBrokerRequestHeader => RegisterBrokerResponseHeader;
    UnregisterBroker = 104, BrokerIdentityRequestHeader => NoHeader;
    QueryDataVersion = 322, BrokerIdentityRequestHeader => QueryDataVersionResponseHeader;
    BrokerHeartbeat = 904, BrokerHeartbeatRequestHeader => NoHeader;
    GetBrokerMemberGroup = 901, GetBrokerMemberGroupRequestHeader => NoHeader;
    GetBrokerClusterInfo = 106, NoHeader => NoHeader;
    WipeWritePermOfBroker = 205, WritePermOfBrokerRequestHeader => WipeWritePermOfBrokerResponseHeader;
    AddWritePermOfBroker = 327, WritePermOfBrokerRequestHeader => AddWritePermOfBrokerResponseHeader;
    GetAllTopicListFromNameserver = 206, NoHeader => NoHeader;
    DeleteTopicInNamesrv = 216, DeleteTopicFromNamesrvRequestHeader => NoHeader;
    RegisterTopicInNamesrv = 217, RegisterTopicRequestHeader => NoHeader;
    GetTopicsByCluster = 224, GetTopicsByClusterRequestHeader => NoHeader;
    GetSystemTopicListFromNs = 304, NoHeader => NoHeader;
    GetUnitTopicList = 311, NoHeader => NoHeader;
    GetHasUnitSubTopicList = 312, NoHeader => NoHeader;
    GetHasUnitSubUnunitTopicList = 313, NoHeader => NoHeader;
    UpdateNamesrvConfig = 318, NoHeader => NoHeader;
    GetNamesrvConfig = 319, NoHeader => NoHeader;
    GetRouteInfoByTopic = 105, GetRouteInfoRequestHeader => NoHeader;

    // Towards clients and brokers, over the connection they opened.
    CheckTransactionState = 39, CheckTransactionStateRequestHeader => NoHeader;
    NotifyConsumerIdsChanged = 40, ConsumerGroupRequestHeader => NoHeader;
    ResetConsumerClientOffset = 220, ResetOffsetRequestHeader => NoHeader;
    GetConsumerStatusFromClient = 221, GetConsumerStatusRequestHeader => NoHeader;
    PushReplyMessageToClient = 326, ReplyMessageRequestHeader => NoHeader;
    NotifyMinBrokerIdChange = 905, NotifyMinBrokerIdChangeRequestHeader => NoHeader;
}
