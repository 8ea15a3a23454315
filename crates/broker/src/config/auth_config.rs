//! Options of authentication and authorisation (ACL 2.0).

daemon::options! {
    /// Options of ACL 2.0. Source: auth/config/AuthConfig.java.
    pub struct AuthConfig {
        configName => config_name: Option<String> = None; Plain, Boot, Y, "file name part";
        clusterName => cluster_name: Option<String> = None; Plain, Boot, Y, "set from brokerClusterName";
        authConfigPath => auth_config_path: Option<String> = None; Plain, Boot, Y, "directory of the user/ACL store";
        authenticationEnabled => authentication_enabled: bool = false; Plain, Boot, Y, "ACL 2.0 login check on";
        authenticationProvider => authentication_provider: Option<String> = None; Plain, Boot, N, "class name; null = built-in";
        authenticationMetadataProvider => authentication_metadata_provider: Option<String> = None; Plain, Boot, N, "class name; needed to create users (LocalAuthenticationMetadataProvider)";
        authenticationStrategy => authentication_strategy: Option<String> = None; Plain, Boot, N, "class name; stateless or stateful";
        authenticationWhitelist => authentication_whitelist: Option<String> = None; Plain, Boot, Y, "comma list of request codes skipped";
        initAuthenticationUser => init_authentication_user: Option<String> = None; Plain, Boot, Y, "JSON username/password, created as Super at boot";
        innerClientAuthenticationCredentials => inner_client_authentication_credentials: Option<String> = None; Plain, Boot, Y, "JSON accessKey/secretKey for broker/proxy's own calls";
        authorizationEnabled => authorization_enabled: bool = false; Plain, Boot, Y, "permission check on";
        authorizationProvider => authorization_provider: Option<String> = None; Plain, Boot, N, "class name";
        authorizationMetadataProvider => authorization_metadata_provider: Option<String> = None; Plain, Boot, N, "class name (LocalAuthorizationMetadataProvider)";
        authorizationStrategy => authorization_strategy: Option<String> = None; Plain, Boot, N, "class name";
        authorizationWhitelist => authorization_whitelist: Option<String> = None; Plain, Boot, Y, "comma list of request codes skipped";
        migrateAuthFromV1Enabled => migrate_auth_from_v1_enabled: bool = false; Plain, Boot, Y, "import plain_acl.yml at boot";
        userCacheMaxNum => user_cache_max_num: i32 = 1000; Count, Boot, T, "cache";
        userCacheExpiredSecond => user_cache_expired_second: i32 = 600; Seconds, Boot, T, "cache";
        userCacheRefreshSecond => user_cache_refresh_second: i32 = 60; Seconds, Boot, T, "cache";
        aclCacheMaxNum => acl_cache_max_num: i32 = 1000; Count, Boot, T, "cache";
        aclCacheExpiredSecond => acl_cache_expired_second: i32 = 600; Seconds, Boot, T, "cache";
        aclCacheRefreshSecond => acl_cache_refresh_second: i32 = 60; Seconds, Boot, T, "cache";
        statefulAuthenticationCacheMaxNum => stateful_authentication_cache_max_num: i32 = 10_000; Count, Boot, T, "cache";
        statefulAuthenticationCacheExpiredSecond => stateful_authentication_cache_expired_second: i32 = 60; Seconds, Boot, T, "cache";
        statefulAuthorizationCacheMaxNum => stateful_authorization_cache_max_num: i32 = 10_000; Count, Boot, T, "cache";
        statefulAuthorizationCacheExpiredSecond => stateful_authorization_cache_expired_second: i32 = 60; Seconds, Boot, T, "cache";
    }
}
