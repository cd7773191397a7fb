/** What an operator sets; read at run time so that one image serves any domain. */
export interface Config {
  readonly productName: string;
  readonly issuer: string;
  readonly clientId: string;
}

export async function loadConfig(fetchFile: typeof fetch = fetch): Promise<Config> {
  const response = await fetchFile("/config.json", { cache: "no-store" });
  if (!response.ok) throw new Error(`/config.json answered ${response.status}`);
  return parseConfig(await response.json());
}

export function parseConfig(value: unknown): Config {
  const fields = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  const text = (name: keyof Config) => {
    const found = fields[name];
    if (typeof found !== "string" || found === "") throw new Error(`/config.json has no ${name}`);
    return found;
  };
  const config = { productName: text("productName"), issuer: text("issuer"), clientId: text("clientId") };
  if (!URL.canParse(config.issuer)) throw new Error(`/config.json: issuer is not a URL: ${config.issuer}`);
  return config;
}
