import type { Hello } from '../wire/hello_codec.js';

/** Grows when frames change in a way that an older version would misread. */
export const protocolVersion = 1;

/** Who this host is. */
export interface HostIdentity {
  readonly hostId: number;
  readonly clusterId: number;
  /** Grows with every start of the process. */
  readonly incarnation: number;
}

/** Why a hello is not accepted. */
export type RefusalReason =
  | 'helloMissing'
  | 'clusterMismatch'
  | 'hostMismatch'
  | 'wrongDirection'
  | 'protocolMismatch'
  | 'staleIncarnation'
  /** The other side refused this host's hello; the message is its own. */
  | 'refusedByPeer';

export interface Refusal {
  readonly reason: RefusalReason;
  /** For people: what was expected and what came. */
  readonly message: string;
}

export function helloTo(self: HostIdentity, toId: number): Hello {
  return {
    clusterId: self.clusterId,
    fromId: self.hostId,
    toId,
    incarnation: self.incarnation,
    protocolVersion,
  };
}

/** Checks the hello that a dialled host answered with. */
export function checkAnswer(self: HostIdentity, peerId: number, hello: Hello | null): Refusal | null {
  if (hello !== null && hello.clusterId === self.clusterId && hello.fromId !== peerId) {
    return { reason: 'hostMismatch', message: `dialled host ${peerId}, host ${hello.fromId} answered` };
  }
  return checkCommon(self, hello);
}

/** Checks the hello of a host that dialled here. */
export function checkDialler(self: HostIdentity, hello: Hello | null): Refusal | null {
  const refusal = checkCommon(self, hello);
  if (refusal !== null || hello === null) return refusal;
  if (hello.fromId >= self.hostId) {
    return {
      reason: 'wrongDirection',
      message: `host ${hello.fromId} dialled host ${self.hostId}, but the lower id dials`,
    };
  }
  return null;
}

function checkCommon(self: HostIdentity, hello: Hello | null): Refusal | null {
  if (hello === null) return { reason: 'helloMissing', message: 'the first frame has no hello' };
  if (hello.clusterId !== self.clusterId) {
    return {
      reason: 'clusterMismatch',
      message: `host ${hello.fromId} belongs to cluster ${hello.clusterId}, host ${self.hostId} to cluster ${self.clusterId}`,
    };
  }
  if (hello.protocolVersion !== protocolVersion) {
    return {
      reason: 'protocolMismatch',
      message: `host ${hello.fromId} speaks protocol version ${hello.protocolVersion}, host ${self.hostId} version ${protocolVersion}`,
    };
  }
  if (hello.toId !== self.hostId) {
    return {
      reason: 'hostMismatch',
      message: `host ${hello.fromId} asked for host ${hello.toId}, this is ${self.hostId}`,
    };
  }
  if (hello.fromId === 0 || hello.fromId === self.hostId) {
    return { reason: 'hostMismatch', message: `host ${hello.fromId} cannot be a peer of host ${self.hostId}` };
  }
  return null;
}
