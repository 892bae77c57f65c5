import { Command } from 'commander';
import type { Store } from '../gen/skerry/v1/meta.js';
import { StoreState } from '../gen/skerry/v1/meta.js';
import { wholeNumber, withAdmin } from './context.js';
import { drainColumns, drainView } from './drain_status.js';
import { nameOfValue } from './names.js';
import type { Column } from './output.js';
import { bytesForPeople, message, printRows } from './output.js';
import { storeInspectCommand } from './store_inspect.js';
import { whyCommand } from './why.js';

export interface StoreView {
  readonly storeId: number;
  readonly address: string;
  readonly state: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly replicas: number;
  readonly leaders: number;
  readonly usedBytes: number;
  readonly capacityBytes: number;
  /** -1: none yet. */
  readonly lastHeartbeatAgeMs: number;
  readonly diskFull: boolean;
  readonly engine: string;
  readonly version: string;
}

export function storeView(store: Store): StoreView {
  return {
    storeId: store.storeId,
    address: store.address,
    state: nameOfValue(StoreState, store.state),
    labels: Object.fromEntries(store.labels.map(({ key, value }) => [key, value])),
    replicas: store.replicaCount,
    leaders: store.leaderCount,
    usedBytes: store.usedBytes,
    capacityBytes: store.capacityBytes,
    lastHeartbeatAgeMs: store.lastHeartbeatAgeMs,
    diskFull: store.diskFull,
    engine: store.engine,
    version: store.version,
  };
}

export const storeColumns: readonly Column<StoreView>[] = [
  { title: 'STORE', value: (s) => s.storeId },
  { title: 'ADDRESS', value: (s) => s.address },
  { title: 'STATE', value: (s) => (s.diskFull ? `${s.state}, disk full` : s.state) },
  { title: 'LEADERS', value: (s) => s.leaders },
  { title: 'REPLICAS', value: (s) => s.replicas },
  { title: 'USED', value: (s) => bytesForPeople(s.usedBytes) },
  { title: 'CAPACITY', value: (s) => bytesForPeople(s.capacityBytes) },
  { title: 'HEARTBEAT', value: (s) => (s.lastHeartbeatAgeMs < 0 ? '-' : `${s.lastHeartbeatAgeMs} ms ago`) },
  {
    title: 'LABELS',
    value: (s) =>
      Object.entries(s.labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(','),
  },
];

/** `skerry store`. */
export function storeCommand(): Command {
  const list = new Command('list').description('list stores').action((_flags: unknown, command: Command) =>
    withAdmin(command, async (admin) => {
      await printRows(command, (await admin.listStores()).map(storeView), storeColumns);
    }),
  );
  const drain = new Command('drain')
    .description('move everything off a store')
    .argument('<store>', 'store id', wholeNumber(1))
    .option('--leaders-only', 'maintenance: move leaders only, replicas stay')
    .option('--cancel', 'take it back into use')
    .option('--status', 'only say what is left on it, and how long that may take')
    .action((storeId: number, flags: { cancel?: boolean; leadersOnly?: boolean; status?: boolean }, command: Command) =>
      withAdmin(command, async (admin) => {
        if (flags.status === true) {
          await printRows(command, [drainView(await admin.getDrain(storeId))], drainColumns);
          return;
        }
        const store = storeView(await admin.drainStore(storeId, flags.cancel ?? false, flags.leadersOnly ?? false));
        await printRows(command, [store], storeColumns);
        message(
          `store ${storeId} is ${store.state}; skerry store drain ${storeId} --status says how far it is, skerry store why ${storeId} what it waits for`,
        );
      }),
    );
  return new Command('store')
    .description('list and drain stores, look into a stopped one')
    .addCommand(list)
    .addCommand(drain)
    .addCommand(whyCommand('store', (admin, id) => admin.whyStore(id)))
    .addCommand(storeInspectCommand());
}
