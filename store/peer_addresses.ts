import type { Logger } from '../src/base/logger.js';
import type { Engine } from '../src/engine/engine.js';
import { storeKey } from '../src/engine/keys.js';
import type { Store } from '../src/gen/skerry/v1/meta.js';
import { StoreState } from '../src/gen/skerry/v1/meta.js';
import type { Transport } from '../src/transport/transport.js';

const rowKey = storeKey('peer_addresses');

/**
 * Where the other stores are. Placement says so; the last word is kept in the engine, so that a restarted store finds
 * its peers while placement is away.
 */
export class PeerAddresses {
  private readonly storeId: number;
  private readonly engine: Engine;
  private readonly transport: Pick<Transport, 'setPeer' | 'removePeer'>;
  private readonly logger: Logger;
  private readonly addresses = new Map<number, string>();

  constructor(options: {
    readonly storeId: number;
    readonly engine: Engine;
    readonly transport: Pick<Transport, 'setPeer' | 'removePeer'>;
    readonly logger: Logger;
  }) {
    this.storeId = options.storeId;
    this.engine = options.engine;
    this.transport = options.transport;
    this.logger = options.logger;
  }

  async load(): Promise<void> {
    const [row] = await this.engine.getMany([rowKey]);
    if (row === null || row === undefined) return;
    for (const [storeId, address] of JSON.parse(row.toString('utf8')) as [number, string][]) this.set(storeId, address);
  }

  /** Takes what placement says. Rejects only when the engine has failed. */
  async update(stores: readonly Store[]): Promise<void> {
    let changed = false;
    for (const { storeId, address, state } of stores) {
      if (storeId === this.storeId || address === '') continue;
      if (state === StoreState.TOMBSTONE) changed = this.remove(storeId) || changed;
      else changed = this.set(storeId, address) || changed;
    }
    if (!changed) return;
    const batch = this.engine.newBatch();
    batch.put(rowKey, Buffer.from(JSON.stringify([...this.addresses]), 'utf8'));
    await this.engine.write(batch);
  }

  private set(storeId: number, address: string): boolean {
    if (this.addresses.get(storeId) === address) return false;
    this.addresses.set(storeId, address);
    this.logger.debug({ peer: storeId, address }, 'a peer store is at this address');
    this.transport.setPeer(storeId, address);
    return true;
  }

  private remove(storeId: number): boolean {
    if (!this.addresses.delete(storeId)) return false;
    this.transport.removePeer(storeId);
    return true;
  }
}
