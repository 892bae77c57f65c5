import type { StoreRecord } from './state/records.js';

/**
 * Labels that keep the replicas of a shard apart. `host` is a rule: no two replicas on one host, because several
 * stores of one machine share its fate. `zone`, or the label that the keyspace's policy names, is a wish: as many values as
 * there are. A store without a host label is a host of its own.
 */
export function hostOf(store: Pick<StoreRecord, 'storeId' | 'labels'>): string {
  const label = store.labels.find((l) => l.key === 'host');
  // The separator keeps a label from being taken for a store's own host.
  return label === undefined ? `\u0000store ${store.storeId}` : label.value;
}

export function distinctHosts(stores: readonly StoreRecord[]): number {
  return new Set(stores.map(hostOf)).size;
}

/** Values of a label among the stores; those without it count as one value. */
export function distinctValues(stores: readonly StoreRecord[], label: string): number {
  return new Set(stores.map((store) => store.labels.find((l) => l.key === label)?.value ?? '')).size;
}

/** True when the store shares its host with none of the others. */
export function isApart(store: StoreRecord, others: readonly StoreRecord[]): boolean {
  const host = hostOf(store);
  return others.every((other) => hostOf(other) !== host);
}
