import { once } from 'node:events';
import { Client, credentials } from '@grpc/grpc-js';
import { must } from '../../src/base/assert.js';
import { Prng } from '../../src/base/prng.js';
import type { Engine } from '../../src/engine/engine.js';
import { dataKey, replicaKey } from '../../src/engine/keys.js';
import { ReplicaState } from '../../src/gen/skerry/v1/kv.js';
import { MsgType, newMessage } from '../../src/raft/message.js';
import type { TcpTransport } from '../../src/transport/tcp_transport.js';
import { flowControlWindowBytes } from '../../src/transport/limits.js';
import { snapshotChunkBytesMax } from '../../store/limits.js';
import { encodeReplicaRecord } from '../../store/records.js';
import { openShardSnapshot } from '../../store/snapshot_source.js';
import { LoopAndMemory, type Watched } from './loop_and_memory.js';
import { benchShard, handlers, newTransport, openEngine, receiverId, senderId } from './snapshot_peer.js';

export interface SenderSettings {
  readonly address: string;
  readonly path: string;
  readonly mib: number;
  readonly valueBytes: number;
}

export type SenderRequest =
  | { readonly kind: 'fill'; readonly settings: SenderSettings }
  | { readonly kind: 'raw'; readonly path: string }
  | { readonly kind: 'snapshot' };

export interface SenderAnswer extends Watched {
  /** Of chunks sent. */
  readonly bytes: number;
}

interface Ready {
  readonly settings: SenderSettings;
  readonly engine: Engine;
  readonly transport: TcpTransport;
}

let ready: Ready | null = null;
/** What the last snapshot held; a bare stream before the first one carries the rows' own bytes. */
let snapshotBytes = 0;

async function fill(settings: SenderSettings): Promise<number> {
  const engine = await openEngine(settings.path);
  const transport = newTransport(senderId);
  const up = new Promise<void>((resolve) => {
    void transport.start(handlers(() => Promise.reject(new Error('sends only')), resolve));
  });
  transport.setPeer(receiverId, settings.address);
  await up;
  ready = { settings, engine, transport };
  const prng = new Prng(1);
  // Bytes that compression would gain little on.
  const noise = Buffer.from(Array.from({ length: settings.valueBytes * 64 }, () => prng.int(0, 255)));
  snapshotBytes = settings.mib * 2 ** 20;
  const rows = Math.floor(snapshotBytes / (settings.valueBytes + 24));
  let batch = engine.newBatch();
  for (let i = 0; i < rows; i++) {
    const at = prng.int(0, noise.length - settings.valueBytes);
    const key = dataKey(1, Buffer.from(`key/${String(i).padStart(20, '0')}`));
    batch.put(key, noise.subarray(at, at + settings.valueBytes));
    if (batch.bytes < 1 << 20) continue;
    await engine.write(batch);
    batch = engine.newBatch();
  }
  const shard = benchShard();
  const record = { replicaId: 10 + senderId, state: ReplicaState.NORMAL, shard, appliedIndex: 100, appliedTerm: 6 };
  batch.put(replicaKey(shard.shardId), encodeReplicaRecord(record));
  await engine.write(batch);
  await engine.sync();
  return snapshotBytes;
}

async function sendRaw({ settings }: Ready, path: string): Promise<number> {
  const client = new Client(settings.address, credentials.createInsecure(), {
    'grpc-node.flow_control_window': flowControlWindowBytes,
  });
  const asIs = (bytes: Buffer): Buffer => bytes;
  const call = client.makeBidiStreamRequest(path, asIs, asIs);
  const ended = once(call, 'end');
  call.resume();
  for (let sent = 0; sent < snapshotBytes; sent += snapshotChunkBytesMax) {
    if (!call.write(Buffer.allocUnsafe(snapshotChunkBytesMax))) await once(call, 'drain');
  }
  call.end();
  await ended;
  client.close();
  return snapshotBytes;
}

async function sendSnapshot({ engine, transport }: Ready): Promise<number> {
  const snapshot = await openShardSnapshot(engine, benchShard().shardId);
  const { meta, descriptor, formatVersion } = snapshot;
  const message = {
    ...newMessage(MsgType.MsgSnap, 10 + senderId, 10 + receiverId),
    term: meta.term,
    snapshot: meta,
  };
  let bytes = 0;
  await transport.sendSnapshot(receiverId, {
    head: { groupId: benchShard().shardId, message, descriptor, formatVersion },
    next: async () => {
      const chunk = await snapshot.next();
      bytes += chunk?.length ?? 0;
      return chunk;
    },
    close: () => snapshot.close(),
  });
  snapshotBytes = bytes;
  return bytes;
}

function handle(request: SenderRequest): Promise<number> {
  if (request.kind === 'fill') return fill(request.settings);
  const prepared = must(ready, 'filled first');
  return request.kind === 'raw' ? sendRaw(prepared, request.path) : sendSnapshot(prepared);
}

process.on('message', (request: SenderRequest) => {
  const meter = new LoopAndMemory();
  void handle(request).then((bytes) => process.send?.({ bytes, ...meter.stop() } satisfies SenderAnswer));
});

// The parent is through, or gone.
process.on('disconnect', () => process.exit());
