/**
 * What holds a decision back, as data: checkers and schedulers return it, the limits and the balance windows name
 * themselves in it, and `skerry shard why` prints it. Nothing here is made up after the decision.
 */
export type Hindrance =
  /** A shard without a leader that can be reached changes nothing about itself. */
  | { readonly kind: 'noLeader' }
  /** No store may take the replica. */
  | { readonly kind: 'noCandidate'; readonly rejected: readonly Rejection[] }
  /** None of the shards looked at may move from where there is too much to where there is too little. */
  | { readonly kind: 'noShard' }
  /** No voter may lead instead. */
  | { readonly kind: 'noHeir' }
  /** Enough is on its way. storeId 0: in the cluster. */
  | { readonly kind: 'limit'; readonly limit: LimitName; readonly storeId: number; readonly max: number }
  /** Something else about the shard comes first. */
  | { readonly kind: 'order'; readonly first: string }
  /** Too few of the other voters have caught up to do without one. */
  | { readonly kind: 'votes' }
  /** The labels asked for are not to be had. */
  | { readonly kind: 'label'; readonly label: string; readonly wanted: string }
  /** The difference is not worth a move. Scores are per unit of weight. */
  | { readonly kind: 'tolerance'; readonly larger: number; readonly smaller: number; readonly tolerance: number }
  /** None of the shards beside it can take it in. */
  | { readonly kind: 'noNeighbour'; readonly rejected: readonly NeighbourRejection[] }
  | { readonly kind: 'switchedOff' }
  /** Outside of the balance windows. */
  | { readonly kind: 'windowClosed' }
  /** A keyspace is being created: its leaders are just coming forth. */
  | { readonly kind: 'creating' }
  | { readonly kind: 'resting'; readonly untilMs: number }
  /** Its stores refuse any change until the merge has ended. */
  | { readonly kind: 'merging' }
  | { readonly kind: 'operatorRunning'; readonly operatorId: number }
  /** A replica lags, or cannot be reached, or is not a voter yet. */
  | { readonly kind: 'unhealthy' }
  /** It carries so much load that its leadership goes only where there is less. */
  | { readonly kind: 'hot' }
  /** A new leader of placement waits until every store had the time to report. */
  | { readonly kind: 'unsettled' }
  | { readonly kind: 'noIds' };

export type LimitName =
  | 'movesInCluster'
  | 'movesPerStore'
  | 'repairsPerStore'
  | 'transfersInCluster'
  | 'transfersPerStore'
  | 'mergesInCluster';

/** Why a store cannot take a replica of a shard. */
export type RejectionKind =
  | 'holdsReplica'
  | 'sharesHost'
  | 'labels'
  | 'draining'
  | 'maintenance'
  | 'unreachable'
  | 'diskFull'
  | 'fewerZones'
  | 'leaderPlace';

export interface Rejection {
  readonly storeId: number;
  readonly kind: RejectionKind;
}

const rejectionTexts: Readonly<Record<RejectionKind, string>> = {
  holdsReplica: 'holds a replica already',
  sharesHost: 'shares its host with another replica',
  labels: 'lacks a label that the policy asks for',
  draining: 'is being drained',
  maintenance: 'is in maintenance',
  unreachable: 'cannot be reached',
  diskFull: 'has a full disk',
  fewerZones: 'would bring replicas together in one zone',
  leaderPlace: 'would take the last voter from where the leader should be',
};

/** Why a shard can not take its neighbour in. */
export type NeighbourRejectionKind = 'unsound' | 'busy' | 'resting' | 'tooLarge' | 'replicas' | 'noRoom' | 'misplaced';

export interface NeighbourRejection {
  readonly shardId: number;
  readonly kind: NeighbourRejectionKind;
}

const neighbourTexts: Readonly<Record<NeighbourRejectionKind, string>> = {
  unsound:
    'is not at rest: its replicas must be voters that follow closely, as its policy wants them, and its size known',
  busy: 'is being changed',
  resting: 'was changed lately',
  tooLarge: 'would be too large together with it',
  replicas: 'has another number of replicas',
  noRoom: 'is on a store that takes no replicas',
  misplaced: 'is not as well placed by the policy',
};

/** Spelled as in the configuration. */
const limitTexts: Readonly<Record<LimitName, string>> = {
  movesInCluster: 'limits.moves_in_cluster',
  movesPerStore: 'limits.moves_per_store',
  repairsPerStore: 'limits.repairs_per_store',
  transfersInCluster: 'limits.transfers_in_cluster',
  transfersPerStore: 'limits.transfers_per_store',
  mergesInCluster: 'limits.merges_in_cluster',
};

/** Stores that are named one by one; of more than these the rest is counted. */
const namedStoresMax = 8;

/** For people. nowMs: to say how long a rest still lasts. */
export function describeHindrance(hindrance: Hindrance, nowMs: number): string {
  switch (hindrance.kind) {
    case 'noLeader':
      return 'no leader that can be reached';
    case 'noCandidate':
      return describeRejections(hindrance.rejected);
    case 'noShard':
      return 'no shard there may move: by labels, by health, or because it was moved lately';
    case 'noHeir':
      return 'no other voter has caught up on a store that may lead';
    case 'limit': {
      const where = hindrance.storeId === 0 ? '' : ` at store ${hindrance.storeId}`;
      return `${limitTexts[hindrance.limit]} (${hindrance.max}) is reached${where}`;
    }
    case 'order':
      return `${hindrance.first} comes first`;
    case 'votes':
      return 'a majority of the other voters must catch up first';
    case 'label':
      return `${hindrance.wanted} wanted by ${hindrance.label}, and no store allows it`;
    case 'tolerance':
      return `even enough: ${shown(hindrance.larger)} beside ${shown(hindrance.smaller)}, up to ${shown(hindrance.tolerance)} apart is tolerated`;
    case 'noNeighbour':
      return describeNeighbours(hindrance.rejected);
    case 'switchedOff':
      return 'balance is switched off';
    case 'windowClosed':
      return 'outside of the balance windows';
    case 'creating':
      return 'a keyspace is being created';
    case 'resting':
      return `it was changed lately and rests for ${Math.ceil((hindrance.untilMs - nowMs) / 1_000)} s more`;
    case 'merging':
      return 'its stores carry it through, or take it back, once the shard that takes it in has a majority';
    case 'operatorRunning':
      return `operator ${hindrance.operatorId} is at work on it`;
    case 'unhealthy':
      return 'not all of its replicas are voters that follow closely';
    case 'hot':
      return 'it carries much load, and the other store would have the larger part of it';
    case 'unsettled':
      return 'stores have yet to report to this placement leader';
    case 'noIds':
      return 'no ids at hand yet';
  }
}

function describeNeighbours(rejected: readonly NeighbourRejection[]): string {
  if (rejected.length === 0) return 'there is no shard beside it';
  return rejected.map((r) => `shard ${r.shardId} ${neighbourTexts[r.kind]}`).join(', ');
}

function describeRejections(rejected: readonly Rejection[]): string {
  if (rejected.length === 0) return 'there is no other store';
  const named = rejected.slice(0, namedStoresMax).map((r) => `store ${r.storeId} ${rejectionTexts[r.kind]}`);
  const rest = rejected.length - named.length;
  return `no store may take it: ${named.join(', ')}${rest > 0 ? `, and ${rest} more` : ''}`;
}

function shown(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(1);
}
