import { mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

/** A data directory that this server must not use. The message names the cure. */
export class DataDirectoryError extends Error {
  override readonly name = 'DataDirectoryError';
}

const identitySchema = z.object({
  kind: z.literal('placement'),
  format: z.literal(1),
  memberId: z.int(),
  /** What the members call their group among themselves; absent in directories of earlier versions. */
  transportId: z.int().optional(),
  /** Of a member that joined a cluster, and did not begin it. */
  joinedClusterId: z.int().optional(),
});
export type Identity = z.output<typeof identitySchema>;

export interface DataDirectory {
  readonly enginePath: string;
  readonly logPath: string;
  readonly stagingPath: string;
}

/** The identity that a directory has; null: it is empty, or not there. Throws DataDirectoryError. */
export async function identityOf(path: string): Promise<Identity | null> {
  return readIdentity(join(path, 'identity.json'));
}

/**
 * Prepares the directory of a member: makes it, or checks that it is this member's. The engine's own lock, which dies
 * with its process, keeps a second server out of it.
 */
export async function prepareDataDirectory(
  path: string,
  memberId: number,
  origin: Pick<Identity, 'transportId' | 'joinedClusterId'> = {},
): Promise<DataDirectory> {
  await mkdir(path, { recursive: true });
  const identityPath = join(path, 'identity.json');
  const known = await readIdentity(identityPath);
  if (known === null) {
    if ((await readdir(path)).length > 0) {
      throw new DataDirectoryError(`${path} is not empty and no placement data directory: give an empty directory`);
    }
    await writeDurably(path, identityPath, { kind: 'placement', format: 1, memberId, ...origin });
  } else if (known.memberId !== memberId) {
    const message = `${path} belongs to placement member ${known.memberId}, and this is member ${memberId}`;
    throw new DataDirectoryError(`${message}: give each member a directory of its own`);
  }
  const directory = {
    enginePath: join(path, 'engine'),
    logPath: join(path, 'raft'),
    stagingPath: join(path, 'staging'),
  };
  // What was staged when the process ended was not installed, or it was installed whole.
  await rm(directory.stagingPath, { recursive: true, force: true });
  await mkdir(directory.stagingPath, { recursive: true });
  return directory;
}

async function readIdentity(path: string): Promise<Identity | null> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  const parsed = identitySchema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new DataDirectoryError(`${path} is not the identity of a placement member of this version`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON is one way of not being an identity; the schema refuses it.
    return null;
  }
}

async function writeDurably(directory: string, path: string, identity: Identity): Promise<void> {
  const temporary = `${path}.new`;
  await writeFile(temporary, `${JSON.stringify(identity)}\n`, { flush: true });
  await rename(temporary, path);
  const handle = await open(directory, 'r');
  await handle.sync();
  await handle.close();
}
