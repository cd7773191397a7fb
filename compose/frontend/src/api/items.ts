import type { Http } from "./http";
import type { components } from "./schema";

type Schemas = components["schemas"];

/** What a person may change. */
export type ItemFields = Readonly<Schemas["ItemInput"]>;
export type Item = Readonly<Schemas["Item"]>;
export type ItemChange = Readonly<Schemas["ItemChange"]>;
export type ItemPage = Readonly<Schemas["ItemPage"]>;
export type Me = Readonly<Schemas["Me"]>;

export interface ItemQuery {
  readonly search: string;
  readonly sort: string;
  readonly limit: number;
  readonly offset: number;
}

/** An item with the entity tag that a later write must show. */
export interface Loaded {
  readonly item: Item;
  readonly etag: string;
}

export class ItemsApi {
  constructor(private readonly http: Http) {}

  async me(signal?: AbortSignal): Promise<Me> {
    return (await this.http.request<Me>("/me", withSignal(signal))).data;
  }

  async list({ search, ...rest }: ItemQuery, signal?: AbortSignal): Promise<ItemPage> {
    const query = new URLSearchParams({ sort: rest.sort, limit: String(rest.limit), offset: String(rest.offset) });
    if (search !== "") query.set("q", search);
    return (await this.http.request<ItemPage>(`/items?${query.toString()}`, withSignal(signal))).data;
  }

  async get(id: string, signal?: AbortSignal): Promise<Loaded> {
    return loaded(await this.http.request<Item>(`/items/${encodeURIComponent(id)}`, withSignal(signal)));
  }

  /** The newest changes, the last one first. */
  async history(id: string, limit: number, signal?: AbortSignal): Promise<readonly ItemChange[]> {
    const path = `/items/${encodeURIComponent(id)}/history?limit=${limit}`;
    return (await this.http.request<Schemas["ItemHistory"]>(path, withSignal(signal))).data.changes;
  }

  /** With the same key, a second attempt after a lost answer yields the same item instead of a second one. */
  async create(fields: ItemFields, idempotencyKey: string): Promise<Loaded> {
    return loaded(await this.http.request<Item>("/items", { method: "POST", body: fields, idempotencyKey }));
  }

  async update(id: string, fields: ItemFields, etag: string): Promise<Loaded> {
    const options = { method: "PUT", body: fields, ifMatch: etag } as const;
    return loaded(await this.http.request<Item>(`/items/${encodeURIComponent(id)}`, options));
  }

  async remove(item: Item): Promise<void> {
    const options = { method: "DELETE", ifMatch: etagOf(item) } as const;
    await this.http.request<undefined>(`/items/${encodeURIComponent(item.id)}`, options);
  }
}

function loaded(answer: { data: Item; etag: string | undefined }): Loaded {
  return { item: answer.data, etag: answer.etag ?? etagOf(answer.data) };
}

function etagOf(item: Item): string {
  return `"${item.version}"`;
}

function withSignal(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal ? { signal } : {};
}
