"""Game day: every service fails in every way. Who is paged, when does it heal, what do users lose, what does status say?"""
