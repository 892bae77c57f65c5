/**
 * The consistency of a read, in the numbers of kv.proto. Named here because the generated module brings gRPC with it, which
 * the router must not.
 */
export const consistencyLinearizable = 1;
export const consistencyFollower = 2;
export const consistencyStale = 3;
