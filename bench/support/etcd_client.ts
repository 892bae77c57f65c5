import { credentials, loadPackageDefinition, makeGenericClientConstructor } from '@grpc/grpc-js';
import type { Client, ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { packageRoot } from '../../src/cli/playground/package_root.js';

/** What Status says of one member; ids are decimal texts, since they are 64 bits wide. */
export interface EtcdStatus {
  readonly memberId: string;
  /** '0': the member knows no leader. */
  readonly leaderId: string;
  readonly version: string;
}

interface Methods {
  readonly put: string;
  readonly range: string;
  readonly status: string;
}

const methods: Methods = {
  put: 'etcdserverpb.KV/Put',
  range: 'etcdserverpb.KV/Range',
  status: 'etcdserverpb.Maintenance/Status',
};

/** The services of etcd that the benchmarks call, as grpc-js has them. */
export function etcdServices(): { readonly kv: ServiceDefinition; readonly maintenance: ServiceDefinition } {
  const definition = loadSync(`${packageRoot}/bench/support/etcd.proto`, {
    longs: String,
    keepCase: false,
    defaults: true,
  });
  // Fails here, with a name, if the file and this code do not fit.
  loadPackageDefinition(definition);
  const service = (name: string): ServiceDefinition => {
    const found = definition[name];
    if (found === undefined || 'format' in found) throw new Error(`etcd.proto has no service ${name}`);
    return found;
  };
  return { kv: service('etcdserverpb.KV'), maintenance: service('etcdserverpb.Maintenance') };
}

/** Unary calls to one etcd member over connections of their own, used in turn. */
export class EtcdClient {
  private readonly kv: Client[];
  private readonly maintenance: Client;
  private readonly services = etcdServices();
  private next = 0;

  constructor(address: string, connections: number) {
    const { kv, maintenance } = this.services;
    const connect = (service: ServiceDefinition): Client =>
      new (makeGenericClientConstructor(service, 'etcd'))(address, credentials.createInsecure(), {
        'grpc.use_local_subchannel_pool': 1,
        'grpc.enable_retries': 0,
        'grpc.enable_channelz': 0,
        'grpc-node.flow_control_window': 4 * 1024 * 1024,
      });
    this.kv = Array.from({ length: connections }, () => connect(kv));
    this.maintenance = connect(maintenance);
  }

  async put(key: string, value: Buffer): Promise<void> {
    await this.call(this.nextKv(), this.services.kv, methods.put, { key: Buffer.from(key), value });
  }

  /** A linearizable read; null: no value. */
  async get(key: string): Promise<Buffer | null> {
    const answer = await this.call(this.nextKv(), this.services.kv, methods.range, { key: Buffer.from(key) });
    const first: unknown = (answer as { readonly kvs: readonly unknown[] }).kvs[0];
    return first === undefined ? null : (first as { readonly value: Buffer }).value;
  }

  async status(): Promise<EtcdStatus> {
    const answer = await this.call(this.maintenance, this.services.maintenance, methods.status, {});
    const { header, leader, version } = answer as {
      readonly header: { readonly memberId: string } | null;
      readonly leader: string;
      readonly version: string;
    };
    return { memberId: header?.memberId ?? '0', leaderId: leader, version };
  }

  close(): void {
    for (const client of [...this.kv, this.maintenance]) client.close();
  }

  private nextKv(): Client {
    const client = this.kv[this.next++ % this.kv.length];
    if (client === undefined) throw new Error('a client has a connection');
    return client;
  }

  private call(client: Client, service: ServiceDefinition, path: string, request: object): Promise<unknown> {
    const method = Object.values(service).find((m) => m.path === `/${path}`);
    if (method === undefined) throw new Error(`etcd.proto has no method ${path}`);
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        { deadline: Date.now() + 30_000 },
        (error, answer: unknown) => (error === null ? resolve(answer) : reject(error)),
      );
    });
  }
}
