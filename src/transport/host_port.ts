export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** `host:port` or `[ipv6]:port`; null for anything else. */
export function parseHostPort(address: string): HostPort | null {
  const match = /^(?:\[([0-9a-fA-F:.%a-z]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || port > 65_535 ? null : { host, port };
}
