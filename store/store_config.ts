import { z } from 'zod';
import { cacheBytesDefault, cacheBytesMin } from '../src/engine/limits.js';

const hostPort = z
  .string()
  .regex(/^(\[[^\]]+\]|[^:]+):\d{1,5}$/, 'must be host:port')
  .refine((text) => Number(text.slice(text.lastIndexOf(':') + 1)) <= 65_535, 'the port is at most 65535');

const bytes = z.number().int().positive();

/** Configuration of skerry-store. src/base/config_schema.ts says how the keys are spelled in files, environment and flags. */
export const storeConfigSchema = z.object({
  address: hostPort.default('127.0.0.1:0').describe('host:port to listen at; port 0 takes a free one'),
  advertiseAddress: hostPort.optional().describe('host:port that clients and other stores dial; default: address'),
  placement: z.array(hostPort).min(1, 'names at least one member').describe('addresses of the placement members'),
  dataDir: z.string().min(1, 'must not be empty').describe('directory of all data'),
  labels: z
    .record(z.string().min(1), z.string().min(1, 'a label has a value: key=value'))
    .default({})
    .describe('where the store is, for example host=h1,zone=a'),
  metricsAddress: hostPort.default('127.0.0.1:0').describe('host:port of /metrics; port 0 takes a free one'),
  logLevel: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
    .default('info')
    .describe('least level to log'),
  capacityBytes: z.number().int().nonnegative().default(0).describe('bytes that placement may count on; 0: the disk'),
  diskReserveBytes: z
    .number()
    .int()
    .nonnegative()
    .default(256 * 1024 * 1024)
    .describe('free bytes below which writes are refused; RocksDB needs some to open again'),
  reportIntervalMs: z.number().int().min(50).default(1_000).describe('milliseconds between reports to placement'),
  raft: z
    .object({
      tickMs: z.number().int().min(5).default(100).describe('milliseconds of a tick'),
      heartbeatTicks: z.number().int().min(1).default(2).describe('ticks between heartbeats'),
      electionTicks: z.number().int().min(3).default(10).describe('least ticks without a leader before an election'),
      leases: z
        .boolean()
        .default(true)
        .describe('leaders serve reads under a lease; off: every read takes a round of heartbeats'),
      hibernateAfterTicks: z
        .number()
        .int()
        .nonnegative()
        .default(30)
        .describe('ticks without use after which a shard hibernates: none of its replicas ticks; 0: never'),
      diskStallMs: z
        .number()
        .int()
        .min(50)
        .optional()
        .describe(
          'age of the oldest unsynced write from which the store gives its leaderships away; default: 2 elections',
        ),
      segmentBytes: bytes.default(64 * 1024 * 1024).describe('bytes of a Raft log segment'),
      cacheBytes: bytes.default(128 * 1024 * 1024).describe('bytes of recent entries kept in memory'),
    })
    .prefault({})
    .refine((raft) => raft.electionTicks > raft.heartbeatTicks, 'election_ticks must exceed heartbeat_ticks')
    .refine((raft) => (raft.diskStallMs ?? Infinity) > raft.tickMs, 'disk_stall_ms must exceed tick_ms'),
  snapshotBytesPerSecond: bytes
    .default(64 * 1024 * 1024)
    .describe('bytes per second of all snapshots that the store sends'),
  engine: z
    .object({
      kind: z
        .enum(['rocksdb', 'rocksdb-dev'])
        .default('rocksdb')
        .describe('rocksdb-dev runs where rocksdb has no binary, and may lose data: for development alone'),
      cacheBytes: bytes
        .default(256 * 1024 * 1024)
        .describe('bytes of the block cache, less than 4 GiB; about an eighth of the memory for 16 to 64 GiB of data'),
      valueCacheBytes: z
        .number()
        .int()
        .nonnegative()
        .refine((size) => size === 0 || size >= cacheBytesMin, `must be 0 or at least ${cacheBytesMin}`)
        .default(cacheBytesDefault)
        .describe('bytes of values kept in the memory of the event loop, where a read needs no disk thread; 0: none'),
      writeBufferBytes: bytes.optional().describe('bytes of rows not in files yet; obeyed with compression only'),
      compression: z.boolean().default(false).describe('compress lower levels'),
      backgroundJobs: z
        .number()
        .int()
        .min(1)
        .max(64)
        .default(2)
        .describe('threads that write and merge files; about a quarter of the cores'),
    })
    .prefault({}),
});

export type StoreConfig = z.output<typeof storeConfigSchema>;
