import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { sendUnaryData, ServerUnaryCall, UntypedServiceImplementation } from '@grpc/grpc-js';
import { appendFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { etcdServices } from '../../bench/support/etcd_client.js';

/**
 * A stand-in for the `etcd` command: takes the flags that the benchmark gives, and serves Put, Range and Status from memory. The
 * member called m2 leads. It neither replicates nor syncs; it only checks that the benchmark speaks to etcd as etcd expects.
 */
if (process.argv.includes('--version')) {
  console.log('etcd Version: 0.0.0-fake\nGit SHA: none');
  process.exit(0);
}

const flag = { type: 'string' } as const;
const { values: flags } = parseArgs({
  args: process.argv.slice(2),
  strict: true,
  options: {
    name: flag,
    'data-dir': flag,
    'listen-client-urls': flag,
    'advertise-client-urls': flag,
    'listen-peer-urls': flag,
    'initial-advertise-peer-urls': flag,
    'initial-cluster': flag,
    'initial-cluster-state': flag,
    'initial-cluster-token': flag,
  },
});
const name = flags.name ?? '';
const members = (flags['initial-cluster'] ?? '').split(',').map((member) => member.split('='));
const own = members.find(([member]) => member === name);
if (own?.[1] !== flags['listen-peer-urls'] || members.length !== 3) {
  console.error(`--initial-cluster does not list ${name} at ${flags['listen-peer-urls'] ?? ''} among three`);
  process.exit(1);
}
for (const setting of Object.keys(process.env).filter((key) => key.startsWith('ETCD_'))) {
  console.error(`unexpected setting ${setting}`);
  process.exit(1);
}

type Call<Request> = ServerUnaryCall<Request, object>;
const memberId = name.slice(1);
const data = new Map<string, Buffer>();
const header = { memberId, revision: '1', raftTerm: '2', clusterId: '3' };
let puts = 0;
let ranges = 0;

const kv: UntypedServiceImplementation = {
  put(call: Call<{ key: Buffer; value: Buffer }>, answer: sendUnaryData<object>) {
    puts++;
    data.set(call.request.key.toString('latin1'), call.request.value);
    answer(null, { header });
  },
  range(call: Call<{ key: Buffer; rangeEnd: Buffer; serializable: boolean }>, answer: sendUnaryData<object>) {
    ranges++;
    if (call.request.serializable) throw new Error('reads must be linearizable');
    const value = data.get(call.request.key.toString('latin1'));
    const kvs = value === undefined ? [] : [{ key: call.request.key, value, version: '1' }];
    answer(null, { header, kvs, count: String(kvs.length) });
  },
};
const maintenance: UntypedServiceImplementation = {
  status(_call: Call<object>, answer: sendUnaryData<object>) {
    answer(null, { header, version: '0.0.0', leader: '2' });
  },
};

const services = etcdServices();
const server = new Server();
server.addService(services.kv, kv);
server.addService(services.maintenance, maintenance);
const address = new URL(flags['listen-client-urls'] ?? '').host;
server.bindAsync(address, ServerCredentials.createInsecure(), (error) => {
  if (error === null) return;
  console.error(error.message);
  process.exit(1);
});
process.on('SIGTERM', () => {
  // For the test: what this member was asked.
  const log = process.env['FAKE_LOG'];
  if (log !== undefined) appendFileSync(log, `${JSON.stringify({ name, puts, ranges, keys: data.size })}\n`);
  process.exit(0);
});
