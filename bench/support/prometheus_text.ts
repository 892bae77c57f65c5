import { get } from 'node:http';

/** Reads a /metrics page and sums every sample of each metric over its labels. */
export function scrape(address: string): Promise<Map<string, number>> {
  return new Promise((resolve, reject) => {
    // A connection of its own: a store that stood still may have closed the last one.
    get(`http://${address}/metrics`, { agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve(parse(text)));
      response.on('error', reject);
    }).on('error', reject);
  });
}

function parse(text: string): Map<string, number> {
  const sums = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const name = /^[a-zA-Z_:][a-zA-Z0-9_:]*/.exec(line)?.[0];
    const value = Number(line.slice(line.lastIndexOf(' ') + 1));
    if (name !== undefined && Number.isFinite(value)) sums.set(name, (sums.get(name) ?? 0) + value);
  }
  return sums;
}
